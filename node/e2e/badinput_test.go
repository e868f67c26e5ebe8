package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

// dialects are the two ways to ask; each error must come in the caller's own.
var dialects = map[string]struct {
	path  string
	body  func(model, text, more string) string
	shape func(t *testing.T, a answer)
}{
	"openai": {"/v1/chat/completions", chatBody, func(t *testing.T, a answer) {
		t.Helper()
		e := a.get("error")
		if e.Get("message").String() == "" || e.Get("type").Type != gjson.String || !e.Get("param").Exists() || e.Get("code").Type != gjson.String {
			t.Errorf("%d is no OpenAI error: %s", a.status, a.body)
		}
	}},
	"anthropic": {"/v1/messages", messagesBody, func(t *testing.T, a answer) {
		t.Helper()
		if a.get("type").String() != "error" || a.get("error.type").String() == "" || a.get("error.message").String() == "" {
			t.Errorf("%d is no Anthropic error: %s", a.status, a.body)
		}
	}},
}

// settled checks that a node has come through: it serves, nothing is held back
// for calls that are over, and what was spent is what the rows say.
func settled(t *testing.T, n *node, key string) {
	t.Helper()
	if a := n.chat(t, key, "gpt", "still there?", ""); a.status != 200 {
		t.Errorf("the node no longer serves: %d %s", a.status, a.body)
	}
	// The budget is one dollar. A call that asks for nearly all that is left is
	// admitted only when no reservation has leaked.
	var total float64
	for _, r := range n.rowsOfKey(t, key) {
		total += r.Get("spend").Float()
	}
	left := 1 - total
	tokens := int(left/0.00001) - 1000
	if a := n.chat(t, key, "gpt", "the rest", fmt.Sprintf(`"max_tokens":%d`, tokens)); a.status != 200 {
		t.Errorf("with %.5f left, a call of at most %d tokens is refused: %d %s", left, tokens, a.status, a.body)
	}
}

func TestBadRequestsAreToldWhatIsWrongInTheirOwnDialect(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  max_request_size_mb: 1\n")})
	key := n.newKey(t, `"max_budget":1`)
	for dialect, d := range dialects {
		good := d.body("gpt", "hi", "")
		for name, c := range map[string]struct {
			body   string
			status int
		}{
			"an empty body":             {"", 400},
			"white space":               {"  \n", 400},
			"half an object":            {good[:len(good)/2], 400},
			"an array":                  {"[" + good + "]", 400},
			"text":                      {"hello", 400},
			"a trailing comma":          {strings.TrimSuffix(good, "}") + ",}", 400},
			"two objects":               {good + good, 400},
			"a duplicate key":           {strings.TrimSuffix(good, "}") + `,"model":"claude"}`, 400},
			"bad UTF-8":                 {strings.Replace(good, "hi", "h\xff\xfei", 1), 400},
			"a control character":       {strings.Replace(good, "hi", "h\x01i", 1), 400},
			"a model of a wrong type":   {strings.Replace(good, `"gpt"`, "7", 1), 400},
			"a stream of a wrong type":  {strings.TrimSuffix(good, "}") + `,"stream":"yes"}`, 400},
			"messages of a wrong type":  {fmt.Sprintf(`{"model":"gpt","max_tokens":5,"messages":%q}`, "hi"), 400},
			"no messages":               {`{"model":"gpt","max_tokens":5}`, 400},
			"messages that are null":    {`{"model":"gpt","max_tokens":5,"messages":null}`, 400},
			"no model":                  {`{"max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, 400},
			"an unknown model":          {d.body("nope", "hi", ""), 400},
			"max_tokens that is text":   {`{"model":"gpt","max_tokens":"many","messages":[{"role":"user","content":"hi"}]}`, 400},
			"max_tokens below zero":     {`{"model":"gpt","max_tokens":-5,"messages":[{"role":"user","content":"hi"}]}`, 400},
			"max_tokens beyond int64":   {`{"model":"gpt","max_tokens":99999999999999999999,"messages":[{"role":"user","content":"hi"}]}`, 400},
			"a body beyond the limit":   {d.body("gpt", strings.Repeat("x", 2<<20), ""), 413},
			"very deep nesting":         {`{"model":"gpt","max_tokens":5,"messages":` + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + "}", 400},
			"a provider's key":          {strings.TrimSuffix(good, "}") + `,"api_key":"sk-mine"}`, 400},
			"an address of the client":  {strings.TrimSuffix(good, "}") + `,"api_base":"http://169.254.169.254/"}`, 400},
			"metadata of a wrong type":  {strings.TrimSuffix(good, "}") + `,"litellm_metadata":"x"}`, 400},
			"extra_headers, wrong type": {strings.TrimSuffix(good, "}") + `,"extra_headers":"x"}`, 400},
		} {
			t.Run(dialect+" "+name, func(t *testing.T) {
				before := f.Count()
				a := n.do(t, "POST", d.path, key, c.body)
				if a.status != c.status {
					t.Errorf("status %d, want %d: %s", a.status, c.status, tail(a.body, 400))
				}
				d.shape(t, a)
				if f.Count() != before {
					t.Errorf("it reached the provider")
				}
			})
		}
	}
	settled(t, n, key)
}

func TestUnknownRoutesAndMethodsAreToldSo(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	if a := n.do(t, "POST", "/v1/chat/complétions", masterKey, "{}"); a.status != 404 || a.body != `{"detail":"Not Found"}` {
		t.Errorf("unknown route: %d %s", a.status, a.body)
	}
	if a := n.get(t, "/v1/chat/completions", masterKey); a.status != 405 || a.body != `{"detail":"Method Not Allowed"}` || a.header.Get("Allow") != "POST" {
		t.Errorf("wrong method: %d %v %s", a.status, a.header, a.body)
	}
	if a := n.do(t, "POST", "/v1/messages/nothing", masterKey, "{}"); a.status != 404 {
		t.Errorf("unknown Anthropic route: %d %s", a.status, a.body)
	}
}

func TestBodiesMayBeCompressedAndBombsDoNotUnfold(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  max_request_size_mb: 1\n")})
	key := n.newKey(t, `"max_budget":1`)
	good := chatBody("gpt", "hi", "")
	bomb := chatBody("gpt", strings.Repeat(" ", 64<<20), "")
	for coding, pack := range map[string]func(string) string{"gzip": gzipped, "zstd": zstdPacked} {
		if a := n.do(t, "POST", "/v1/chat/completions", key, pack(good), "Content-Encoding", coding); a.status != 200 || a.get("choices.0.message.content").String() != greeting {
			t.Errorf("%s: %d %s", coding, a.status, a.body)
		}
		if got := f.Last("hi"); got == nil || got.Header.Get("Content-Encoding") != "" || !gjson.ValidBytes(got.Body) {
			t.Errorf("%s: the provider did not get a plain body", coding)
		}
		if a := n.do(t, "POST", "/v1/chat/completions", key, pack(bomb), "Content-Encoding", coding); a.status != 413 {
			t.Errorf("%s bomb: %d %s", coding, a.status, tail(a.body, 300))
		}
		if a := n.do(t, "POST", "/v1/chat/completions", key, "this is not packed", "Content-Encoding", coding); a.status != 400 {
			t.Errorf("%s garbage: %d %s", coding, a.status, a.body)
		}
		packed := pack(good)
		if a := n.do(t, "POST", "/v1/chat/completions", key, packed[:len(packed)/2], "Content-Encoding", coding); a.status != 400 {
			t.Errorf("half of %s: %d %s", coding, a.status, a.body)
		}
	}
	if a := n.do(t, "POST", "/v1/chat/completions", key, good, "Content-Encoding", "br"); a.status != 415 {
		t.Errorf("an unknown coding: %d %s", a.status, a.body)
	}
	settled(t, n, key)
}

func gzipped(s string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, s) // a buffer takes everything
	_ = w.Close()
	return out.String()
}

func zstdPacked(s string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		return ""
	}
	return string(w.EncodeAll([]byte(s), nil))
}

// head is a request by hand, so that it can be wrong below HTTP.
func head(key string, lines ...string) string {
	return "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer " + key + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestBrokenHTTPIsRefusedAndHarmsNobody(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"max_budget":1`)
	good := chatBody("gpt", "hi", "")
	length := fmt.Sprintf("Content-Length: %d", len(good))
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)
	for name, c := range map[string]struct {
		send   string
		status string
	}{
		"both framings":             {head(key, "Connection: close", length, "Transfer-Encoding: chunked") + chunked, "400"},
		"two lengths":               {head(key, "Connection: close", length, "Content-Length: 3") + good, "400"},
		"a negative length":         {head(key, "Connection: close", "Content-Length: -5") + good, "400"},
		"huge headers":              {head(key, "Connection: close", "X-Big: "+strings.Repeat("x", 200<<10), length) + good, "431"},
		"no HTTP at all":            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", "400"},
		"a chunk of a bad size":     {head(key, "Connection: close", "Transfer-Encoding: chunked") + "zz\r\n" + good + "\r\n0\r\n\r\n", "400"},
		"a header without a colon":  {head(key, "Connection: close", "nonsense", length) + good, "400"},
		"a good chunked one passes": {head(key, "Connection: close", "Transfer-Encoding: chunked") + chunked, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			got := n.raw(t, soon, c.send)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
				t.Errorf("want %s: %q", c.status, tail(got, 400))
			}
		})
	}
	t.Run("half-sent bodies", func(t *testing.T) {
		before := f.Count()
		for range 20 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, head(key, length)+good[:len(good)/2]); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if f.Count() != before {
			t.Error("a half-sent body reached the provider")
		}
	})
	t.Run("senders that trickle do not hold up others", func(t *testing.T) {
		for range 64 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, head(key, length)[:20]); err != nil {
				t.Fatal(err)
			}
		}
		if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	settled(t, n, key)
}

func TestASenderOfAnEndlessHeaderIsCutOff(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	at := time.Now()
	got := n.raw(t, soon, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if took := time.Since(at); took > soon/2 {
		t.Errorf("the connection was held for %s", took)
	}
	if got != "" && !strings.HasPrefix(got, "HTTP/1.1 408") {
		t.Errorf("%q", got)
	}
}
