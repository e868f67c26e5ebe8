package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

func TestAProviderThatHungUpBetweenCallsCostsNobodyACall(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for i := range 20 {
		if a := n.chat(t, masterKey, "gpt", "fake:close", ""); i%2 == 0 && a.status != 200 {
			t.Fatalf("call %d: %d %s", i, a.status, a.body)
		}
		if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
			t.Fatalf("call %d: %d %s", i, a.status, a.body)
		}
		f.Hangup()
		if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
			t.Fatalf("after a hang-up: %d %s", a.status, a.body)
		}
		f.Hangup()
		if a := n.chat(t, masterKey, "claude", "hi", `"stream":true`); a.status != 200 || !strings.Contains(a.body, "[DONE]") {
			t.Fatalf("a stream after a hang-up: %d %s", a.status, a.body)
		}
	}
}

func TestCompressedAnswersAreReadThoughNobodyAskedForThem(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for dialect, d := range dialects {
		for _, model := range []string{"gpt", "claude"} {
			a := n.do(t, "POST", d.path, masterKey, d.body(model, "fake:gzip", ""))
			if a.status != 200 || !strings.Contains(a.body, "Héllo 世界 🙂") || a.header.Get("Content-Encoding") != "" {
				t.Errorf("%s %s: %d %q %q", dialect, model, a.status, a.header.Get("Content-Encoding"), tail(a.body, 200))
			}
			a = n.do(t, "POST", d.path, masterKey, d.body(model, "fake:gzip fake:status=400", ""))
			if a.status != 400 || !strings.Contains(a.body, "told to fail") {
				t.Errorf("%s %s, error: %d %q", dialect, model, a.status, tail(a.body, 200))
			}
			d.shape(t, a)
		}
	}
}

func TestEventsOfAnySizePassAStream(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	for _, size := range []int{4095, 4096, 65535, 65536, 1 << 20} {
		for dialect, d := range dialects {
			for _, model := range []string{"gpt", "claude"} {
				a := n.do(t, "POST", d.path, masterKey, d.body(model, fmt.Sprintf("fake:wide=%d", size), `"stream":true`))
				if got := len(deltas(a.body)); a.status != 200 || got != size {
					t.Errorf("%s %s: %d bytes of %d", dialect, model, got, size)
				}
			}
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	one := func(text, more string, last bool) string {
		body := chatBody("gpt", text, more)
		closing := "keep-alive"
		if last {
			closing = "close"
		}
		return head(masterKey, fmt.Sprintf("Content-Length: %d", len(body)), "Connection: "+closing) + body
	}
	// The first is slow: while it runs the node listens for the client's leaving,
	// and what it hears is the second request.
	got := n.raw(t, soon, one("fake:slow=150ms fake:words=1", "", false)+
		one("fake:words=2 fake:gap=50ms", `"stream":true`, false)+one("fake:words=3", "", true))
	if strings.Count(got, "HTTP/1.1 200 OK") != 3 {
		t.Fatalf("%d answers to 3 requests:\n%s", strings.Count(got, "HTTP/1.1 "), got)
	}
	first, second, third := strings.Index(got, `"word0 "`), strings.Index(got, "[DONE]"), strings.Index(got, `word0 word1 word2 "`)
	if first < 0 || second < first || third < second {
		t.Errorf("the answers are out of order (%d, %d, %d):\n%s", first, second, third, got)
	}
}

func TestExpectContinueAndOldHTTPAreServed(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	body := chatBody("gpt", "hi", "")
	length := fmt.Sprintf("Content-Length: %d", len(body))
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon)) // a deadline on TCP cannot fail
	if _, err := io.WriteString(conn, head(masterKey, length, "Expect: 100-continue", "Connection: close")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 25)
	if _, err := io.ReadFull(conn, buf); err != nil || !strings.HasPrefix(string(buf), "HTTP/1.1 100 ") {
		t.Fatalf("%v %q", err, buf)
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(conn); !strings.HasPrefix(string(rest), "HTTP/1.1 200 ") {
		t.Errorf("%q", rest)
	}
	old := strings.Replace(head(masterKey, length), "HTTP/1.1", "HTTP/1.0", 1) + body
	if got := n.raw(t, soon, old); !strings.Contains(got, " 200 OK") || !strings.Contains(got, "Héllo") {
		t.Errorf("%q", got)
	}
}

// Clients that ask and do not read hold up neither the others nor the end.
func TestReadersThatStopReadingHoldUpNobody(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":100`)
	body := chatBody("gpt", "fake:words=200000", `"stream":true,"max_tokens":200000`)
	var idle []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
		if _, err := io.WriteString(conn, head(key, fmt.Sprintf("Content-Length: %d", len(body)))+body); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, soon, "all streams run", func() error {
		if f.Count() < len(idle) {
			return fmt.Errorf("%d", f.Count())
		}
		return nil
	})
	for range 50 {
		if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for _, conn := range idle {
		_ = conn.Close()
	}
	eventually(t, soon, "all streams are booked as left", func() error {
		rows := n.rowsOfKey(t, key)
		for _, r := range rows {
			if s := r.Get("metadata.status").String(); s != "client_closed" {
				return fmt.Errorf("status %q", s)
			}
		}
		if len(rows) != len(idle) {
			return fmt.Errorf("%d rows", len(rows))
		}
		return nil
	})
}

func TestAClientThatLeavesBeforeTheAnswerFreesTheProvider(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":1`)
	for dialect, d := range dialects {
		for i, more := range []string{"", `"stream":true`} {
			word := fmt.Sprintf("left-%s-%d", dialect, i)
			body := d.body("gpt", "fake:hang "+word, more)
			conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			request := strings.Replace(head(key, fmt.Sprintf("Content-Length: %d", len(body))), "/v1/chat/completions", d.path, 1)
			if _, err := io.WriteString(conn, request+body); err != nil {
				t.Fatal(err)
			}
			eventually(t, soon, "the provider is asked", func() error {
				if f.Last(word) == nil {
					return fmt.Errorf("nothing arrived")
				}
				return nil
			})
			_ = conn.Close()
			select {
			case <-f.Last(word).Gone:
			case <-time.After(soon):
				t.Errorf("%s %s: the provider is still at work long after the client left", dialect, more)
			}
		}
	}
	eventually(t, soon, "the calls are in the books", func() error {
		rows := n.rowsOfKey(t, key)
		for _, r := range rows {
			if r.Get("metadata.status").String() != "client_closed" || r.Get("spend").Float() <= 0 {
				return fmt.Errorf("%s", r)
			}
		}
		if len(rows) != 4 {
			return fmt.Errorf("%d rows", len(rows))
		}
		return nil
	})
	settled(t, n, key)
}

func TestParallelLimitsCountWhatIsInFlight(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_parallel_requests":3`)
	var open []*stream
	for range 3 {
		s := n.open(t, "/v1/chat/completions", key, chatBody("gpt", "fake:stall fake:words=9", `"stream":true`))
		s.until(t, "word0 ")
		open = append(open, s)
	}
	if a := n.chat(t, key, "gpt", "hi", ""); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "Limit type: max_parallel_requests. Current limit: 3") {
		t.Errorf("%d %s", a.status, a.body)
	}
	open[0].cancel()
	eventually(t, soon, "a place is free again", func() error {
		a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", ""))
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}

func TestOneKeysFloodOfBadKeysAndModelsLeavesOthersUntouched(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	var crew sync.WaitGroup
	for i := range 16 {
		crew.Go(func() {
			c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for k := range 100 {
				if got := send(c, n.url, fmt.Sprintf("sk-guess-%d-%d", i, k), chatBody("gpt", "hi", "")); got != 401 {
					t.Errorf("a guessed key: %d", got)
				}
				if got := send(c, n.url, masterKey, chatBody(fmt.Sprintf("model-%d-%d", i, k), "hi", "")); got != 400 {
					t.Errorf("a guessed model: %d", got)
				}
			}
		})
	}
	crew.Wait()
	if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if f.Count() != 1 {
		t.Errorf("%d calls reached the provider", f.Count())
	}
}
