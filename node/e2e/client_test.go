package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

// configFor is a gateway in front of one fake: an OpenAI-type model gpt, an
// Anthropic-type model claude and an embedding model embed, with prices that
// make sums easy: one input token is a micro-dollar, one output token ten.
func configFor(f *fake.Server, more string) string {
	const prices = `
      input_cost_per_token: 0.000001
      output_cost_per_token: 0.00001`
	return `model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: ` + f.OpenAI() + `
      api_key: sk-upstream-openai` + prices + `
  - model_name: claude
    litellm_params:
      model: anthropic/claude-3-5-haiku-20241022
      api_base: ` + f.Anthropic() + `
      api_key: sk-upstream-anthropic` + prices + `
  - model_name: embed
    litellm_params:
      model: openai/text-embedding-3-small
      api_base: ` + f.OpenAI() + `
      api_key: sk-upstream-openai
    model_info:
      mode: embedding
router_settings:
  num_retries: 0
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
` + more
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) get(path string) gjson.Result { return gjson.Get(a.body, path) }

// client is shared: its connections are kept as an SDK's are.
var client = &http.Client{
	Timeout:   60 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 512, IdleConnTimeout: 5 * time.Second},
}

// call sends one request. headers are pairs of name and value.
func (n *node) call(method, path, key, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	c := n.http
	if c == nil {
		c = client
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw)}, err
}

// do is call for requests that must get through.
func (n *node) do(t testing.TB, method, path, key, body string, headers ...string) answer {
	t.Helper()
	a, err := n.call(method, path, key, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (n *node) get(t testing.TB, path, key string) answer {
	t.Helper()
	return n.do(t, "GET", path, key, "")
}

// chat asks an OpenAI-dialect question; more are further members of the body.
func (n *node) chat(t testing.TB, key, model, text, more string, headers ...string) answer {
	t.Helper()
	return n.do(t, "POST", "/v1/chat/completions", key, chatBody(model, text, more), headers...)
}

func chatBody(model, text, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%s}]%s}`, model, quote(text), more)
}

func messagesBody(model, text, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"model":%q,"max_tokens":100,"messages":[{"role":"user","content":%s}]%s}`, model, quote(text), more)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// newKey makes a virtual key with the given fields of /key/generate.
func (n *node) newKey(t testing.TB, fields string) string {
	t.Helper()
	a := n.do(t, "POST", "/key/generate", masterKey, "{"+fields+"}")
	key := a.get("key").String()
	if a.status != 200 || !strings.HasPrefix(key, "sk-") {
		t.Fatalf("no key was made: %d %s", a.status, a.body)
	}
	return key
}

// row is the ledger's row of one call, once it is there.
func (n *node) row(t testing.TB, requestID string) gjson.Result {
	t.Helper()
	var row gjson.Result
	eventually(t, soon, "the call "+requestID+" has its row", func() error {
		a, err := n.call("GET", "/spend/logs?request_id="+requestID, masterKey, "")
		if err != nil {
			return err
		}
		if rows := a.get("@this").Array(); a.status == 200 && len(rows) == 1 {
			row = rows[0]
			return nil
		}
		return fmt.Errorf("%d %s", a.status, tail(a.body, 300))
	})
	return row
}

// rowsOfKey lists every row of a key.
func (n *node) rowsOfKey(t testing.TB, key string) []gjson.Result {
	t.Helper()
	var out []gjson.Result
	cursor := ""
	for {
		a := n.get(t, "/spend/logs?summarize=false&limit=1000&api_key="+key+"&cursor="+cursor, masterKey)
		if a.status != 200 {
			t.Fatalf("no rows: %d %s", a.status, a.body)
		}
		out = append(out, a.get("@this").Array()...)
		cursor = a.header.Get("X-Next-Cursor")
		if cursor == "" {
			return out
		}
	}
}

// spendOf is what /key/info says that a key has spent.
func (n *node) spendOf(t testing.TB, key string) float64 {
	t.Helper()
	a := n.get(t, "/key/info?key="+key, masterKey)
	if a.status != 200 {
		t.Fatalf("no key info: %d %s", a.status, a.body)
	}
	return a.get("info.spend").Float()
}

// stream is an answer that is read as it comes.
type stream struct {
	resp   *http.Response
	cancel context.CancelFunc
}

// open begins a streamed request on a connection of its own.
func (n *node) open(t testing.TB, path, key, body string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	req, err := http.NewRequestWithContext(ctx, "POST", n.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Transport{DisableKeepAlives: true, DialContext: n.dial}).RoundTrip(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
	})
	return &stream{resp, cancel}
}

// until reads the stream up to a mark and returns what was read.
func (s *stream) until(t testing.TB, mark string) string {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(mark)) {
		k, err := s.resp.Body.Read(buf)
		got = append(got, buf[:k]...)
		if err != nil && !bytes.Contains(got, []byte(mark)) {
			t.Fatalf("the stream ended (%v) without %q:\n%s", err, mark, got)
		}
	}
	return string(got)
}

// raw sends bytes as they are on a connection of their own and returns all that
// comes back until the node closes, or what came within the time.
func (n *node) raw(t testing.TB, within time.Duration, send string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(n.url, "http://"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(within)) // a deadline on TCP cannot fail
	if _, err := io.WriteString(conn, send); err != nil {
		t.Logf("the node closed while it was sent to: %v", err)
	}
	got, _ := io.ReadAll(conn) // a timeout shows in what is missing
	return string(got)
}

// deltas joins the text of a stream of either dialect.
func deltas(body string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(body, "\n") {
		if data, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "data: "); ok {
			out.WriteString(gjson.Get(data, "choices.0.delta.content").String())
			out.WriteString(gjson.Get(data, "delta.text").String())
		}
	}
	return out.String()
}
