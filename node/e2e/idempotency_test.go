package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

const (
	keyHeader    = "Idempotency-Key"
	replayHeader = "X-Tollgate-Idempotent-Replay"
)

// once is a call that is repeated with the same key.
type once struct {
	path, body, mark string
}

// shapes are the ways in which an answer can come.
func shapes(name, orders string) []once {
	mark := func(kind string) string { return fmt.Sprintf("%s-%s", name, kind) }
	say := func(kind string) string { return mark(kind) + " " + orders }
	return []once{
		{"/v1/chat/completions", chatBody("gpt", say("whole"), `"max_tokens":50`), mark("whole")},
		{"/v1/chat/completions", chatBody("gpt", say("stream"), `"max_tokens":50,"stream":true,"stream_options":{"include_usage":true}`), mark("stream")},
		{"/v1/messages", messagesBody("claude", say("events"), `"stream":true`), mark("events")},
		{"/v1/messages", messagesBody("claude", say("message"), ""), mark("message")},
	}
}

func (o once) on(n *node, key string) (answer, error) {
	return n.call("POST", o.path, key, o.body, keyHeader, o.mark)
}

// requireSame checks that an answer is the first one's, byte for byte.
func requireSame(t *testing.T, what string, first, got answer) {
	t.Helper()
	if got.status != 200 || got.body != first.body {
		t.Errorf("%s: %d %s\nwant\n%s", what, got.status, tail(got.body, 400), tail(first.body, 400))
	}
	if a, b := first.header.Get("Content-Type"), got.header.Get("Content-Type"); a != b {
		t.Errorf("%s: content type %q, was %q", what, b, a)
	}
	if a, b := first.header.Get("X-Litellm-Call-Id"), got.header.Get("X-Litellm-Call-Id"); a != b {
		t.Errorf("%s: call id %q, was %q", what, b, a)
	}
}

// requireOnce checks that the provider was asked once and one row was written.
func requireOnce(t *testing.T, f *fake.Server, n *node, key string, mark string, rows int) {
	t.Helper()
	if arrived, _ := f.With(mark); arrived != 1 {
		t.Errorf("%s: the provider was asked %d times", mark, arrived)
	}
	eventually(t, soon, "the rows are there", func() error {
		if got := len(n.rowsOfKey(t, key)); got != rows {
			return fmt.Errorf("%d rows, want %d", got, rows)
		}
		return nil
	})
}

func TestOneKeyOnAllNodesAtOnceIsOneCallWithOneRowAndTheSameBytesForAll(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, "")
	calls := shapes("at-once", "fake:slow=300ms")
	for _, o := range calls {
		var mu sync.Mutex
		var got []answer
		var all sync.WaitGroup
		for i := range 9 {
			all.Go(func() {
				a, err := o.on(c.nodes[i%3], key)
				if err != nil {
					t.Errorf("%s: %v", o.mark, err)
				}
				mu.Lock()
				got = append(got, a)
				mu.Unlock()
			})
		}
		all.Wait()
		replays := 0
		for i, a := range got {
			requireSame(t, fmt.Sprintf("%s, answer %d", o.mark, i), got[0], a)
			if a.header.Get(replayHeader) == "true" {
				replays++
			}
		}
		if replays != 8 {
			t.Errorf("%s: %d of 9 answers say that they are repeated", o.mark, replays)
		}
		other := strings.Replace(o.body, "at-once", "another", 1)
		for _, n := range c.nodes {
			a := n.do(t, "POST", o.path, key, other, keyHeader, o.mark)
			if a.status != 422 || !strings.Contains(a.body, "used for another request") {
				t.Errorf("%s with another body: %d %s", o.mark, a.status, a.body)
			}
		}
	}
	for _, o := range calls {
		if arrived, _ := f.With(o.mark); arrived != 1 {
			t.Errorf("%s: the provider was asked %d times", o.mark, arrived)
		}
	}
	spent := 0
	eventually(t, soon, "the rows are there", func() error {
		spent = 0
		for _, r := range c.nodes[1].rowsOfKey(t, key) {
			if r.Get("status").String() == "success" {
				spent++
			}
		}
		if spent != len(calls) {
			return fmt.Errorf("%d rows", spent)
		}
		return nil
	})
	if a := c.nodes[0].chat(t, c.nodes[0].newKey(t, ""), "gpt", "at-once-whole by another caller", "", keyHeader, calls[0].mark); a.status != 200 || a.header.Get(replayHeader) != "" {
		t.Errorf("another caller's call with the same text as key: %d, %v", a.status, a.header)
	}
}

func TestAKeptAnswerOutlivesNodes(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, "")
	calls := shapes("outlives", "")
	maker := c.followers()[0]
	first := make([]answer, len(calls))
	for i, o := range calls {
		var err error
		if first[i], err = o.on(maker, key); err != nil || first[i].status != 200 {
			t.Fatalf("%s: %v %d %s", o.mark, err, first[i].status, first[i].body)
		}
	}
	again := func(when string, nodes []*node) {
		t.Helper()
		for i, o := range calls {
			for _, n := range nodes {
				eventually(t, soon, when+" "+o.mark+" is answered again", func() error {
					a, err := o.on(n, key)
					if err != nil {
						return err
					}
					if a.status == 503 { // while there is no leader, or the copy is looked for
						return fmt.Errorf("%s", a.body)
					}
					requireSame(t, when+" "+o.mark, first[i], a)
					return nil
				})
			}
		}
	}
	again("with all nodes there,", c.nodes)
	eventually(t, soon, "the copy has all", func() error {
		lag, err := maker.metric("tollgate_replica_lag_entries")
		if err == nil && lag > 0 {
			err = fmt.Errorf("%v entries are missing", lag)
		}
		return err
	})
	leader := c.leader()
	leader.kill() // not the one that made the calls
	again("after the leader's death,", c.living())
	leader.again()
	c.waitFormed()
	maker.kill()
	again("after the death of the node that made the calls,", c.living())
	maker.again()
	c.waitFormed()
	again("with all nodes back,", c.nodes)
	for _, o := range calls {
		if arrived, _ := f.With(o.mark); arrived != 1 {
			t.Errorf("%s: the provider was asked %d times", o.mark, arrived)
		}
	}
	answered := 0
	rows := c.nodes[0].rowsOfKey(t, key)
	for _, r := range rows {
		if r.Get("status").String() == "success" { // one that was refused while there was no leader has its row too
			answered++
		}
	}
	if answered != len(calls) {
		t.Errorf("%d rows of %d calls: %v", answered, len(calls), rows)
	}
}

func TestACallThatItsNodeTookAlongIsNotMadeASecondTime(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, "")
	maker, other := c.followers()[0], c.followers()[1]
	o := once{"/v1/chat/completions", chatBody("gpt", "taken-along fake:hang", `"max_tokens":50`), "taken-along"}
	go func() { _, _ = o.on(maker, key) }() // the node dies under it
	eventually(t, soon, "the provider is asked", func() error {
		if _, inFlight := f.With(o.mark); inFlight == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	waiting := make(chan answer, 1)
	go func() {
		a, err := o.on(other, key)
		if err != nil {
			t.Error(err)
		}
		waiting <- a
	}()
	<-time.After(300 * time.Millisecond)
	maker.kill()
	if a := <-waiting; a.status != 503 || a.get("error.code").String() != "outcome_unknown" {
		t.Errorf("who waited for it: %d %s", a.status, a.body)
	}
	maker.again()
	c.waitFormed()
	for _, n := range c.nodes {
		a, err := o.on(n, key)
		if err != nil || a.status != 503 || a.get("error.code").String() != "outcome_unknown" || a.header.Get("X-Tollgate-First-Call-Id") == "" {
			t.Errorf("after the restart: %v %d %s", err, a.status, a.body)
		}
	}
	if arrived, _ := f.With(o.mark); arrived != 1 {
		t.Errorf("the provider was asked %d times", arrived)
	}
}

func TestACallWithoutAnAnswerFreesItsKeyOnEveryNode(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key, limited := c.nodes[0].newKey(t, ""), c.nodes[0].newKey(t, `"rpm_limit":0`)
	for i, n := range c.nodes {
		a := n.chat(t, key, "gpt", "fails fake:status=500", "", keyHeader, "fails")
		if want := 500; a.status != want {
			t.Errorf("call %d: %d %s", i, a.status, a.body)
		}
	}
	if arrived, _ := f.With("fails"); arrived != 3 {
		t.Errorf("the provider was asked %d times of three", arrived)
	}
	for _, n := range c.nodes {
		if a := n.chat(t, limited, "gpt", "over the limit", "", keyHeader, "limited"); a.status != 429 {
			t.Errorf("over the limit: %d %s", a.status, a.body)
		}
	}
	if a := c.nodes[0].do(t, "POST", "/key/update", masterKey, fmt.Sprintf(`{"key":%q,"rpm_limit":100}`, limited)); a.status != 200 {
		t.Fatalf("raise the limit: %d %s", a.status, a.body)
	}
	if a := c.nodes[1].chat(t, limited, "gpt", "over the limit", "", keyHeader, "limited"); a.status != 200 || a.header.Get(replayHeader) != "" {
		t.Errorf("the same key once the limit lets it: %d %s", a.status, a.body)
	}
}

func TestAClientThatLeavesFindsItsAnswerUnderItsKey(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 2, clusterOptions{config: configFor(f, "")})
	key := c.nodes[0].newKey(t, "")
	for _, o := range shapes("leaves", "fake:slow=1s fake:gap=20ms") {
		conn, err := c.nodes[0].dial(t.Context(), "tcp", c.nodes[0].o.listen)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			o.path, key, keyHeader, o.mark, len(o.body), o.body)
		eventually(t, soon, "the provider is asked", func() error {
			if arrived, _ := f.With(o.mark); arrived == 0 {
				return fmt.Errorf("it is not")
			}
			return nil
		})
		_ = conn.Close()
		a, err := o.on(c.nodes[1], key)
		if err != nil || a.status != 200 || a.header.Get(replayHeader) != "true" {
			t.Errorf("%s: %v %d %s", o.mark, err, a.status, tail(a.body, 300))
		}
		if arrived, _ := f.With(o.mark); arrived != 1 {
			t.Errorf("%s: the provider was asked %d times", o.mark, arrived)
		}
	}
}

func TestAnAnswerTooLargeToKeepIsSaidToBe(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "tollgate_settings:\n  idempotency: {max_answer_bytes: 2000}\n")})
	key := n.newKey(t, "")
	for _, o := range shapes("large", "fake:wide=20000") {
		if a, err := o.on(n, key); err != nil || a.status != 200 || len(a.body) < 20000 {
			t.Fatalf("%s: %v %d, %d bytes", o.mark, err, a.status, len(a.body))
		}
		a, err := o.on(n, key)
		if err != nil || a.status != 409 || !strings.Contains(a.body, "not kept") {
			t.Errorf("%s again: %v %d %s", o.mark, err, a.status, a.body)
		}
	}
	long := n.chat(t, key, "gpt", "hi", "", keyHeader, strings.Repeat("k", 256))
	if long.status != 400 || long.get("error.code").String() != "invalid_idempotency_key" {
		t.Errorf("a key of 256 bytes: %d %s", long.status, long.body)
	}
}
