package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// Marks of calls whose data must stay in eu-west, and of calls that may go anywhere.
const (
	staysMark = "whisper"
	freeMark  = "announcement"
)

// listener keeps all that is posted to it.
type listener struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	url  string
}

func listen(t testing.TB) *listener {
	l := &listener{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.text.Write(body)
	}))
	t.Cleanup(s.Close)
	l.url = s.URL
	return l
}

func (l *listener) has(mark string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), mark)
}

// regional is a config with a deployment of one group in each region and one that
// says no region, a fallback in another region, and callbacks in all of them.
func regional(eu, us, lost *fake.Server, callbacks string) string {
	deployment := func(group, id, region string, f *fake.Server) string {
		if region != "" {
			region = ", region_name: " + region
		}
		return fmt.Sprintf("  - {model_name: %s, litellm_params: {model: openai/gpt-4o-mini, api_base: %q, api_key: sk-up, input_cost_per_token: 0.000001, output_cost_per_token: 0.00001%s}, model_info: {id: %s}}\n",
			group, f.OpenAI(), region, id)
	}
	return "model_list:\n" + deployment("gpt", "in-eu", "eu-west", eu) + deployment("gpt", "in-us", "us-east", us) + deployment("gpt", "lost", "", lost) +
		deployment("far", "far-us", "us-east", us) + deployment("far", "far-lost", "", lost) + `router_settings:
  num_retries: 2
  fallbacks: [{gpt: [far]}]
  disable_cooldowns: true
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  store_prompts_in_spend_logs: true
` + callbacks
}

// tellsOf is the body of a call that says its mark wherever a client can, but for
// ids: they go where figures go.
func tellsOf(model, mark, more string) string {
	return chatBody(model, mark+" fake:words=3", `"metadata":{"note":"`+mark+`-note","spend_logs_metadata":{"job":"`+mark+`-job"}}`+more)
}

// heldIn reports in how many files under a directory a mark stands in the clear.
func heldIn(t testing.TB, dir, mark string) int {
	t.Helper()
	out, err := exec.Command("grep", "-rlaF", mark, dir).Output()
	if err != nil && len(out) > 0 {
		t.Fatalf("grep: %v", err)
	}
	return strings.Count(string(out), "\n")
}

func TestDataStaysInItsRegionsThroughRetriesFallbacksStreamsCopiesAndCallbacks(t *testing.T) {
	t.Parallel()
	eu, us, lost := fake.Start(t), fake.Start(t), fake.Start(t)
	inEU, inUS, unplaced := listen(t), listen(t), listen(t)
	hook := func(name, more string, l *listener) string {
		return fmt.Sprintf("  %s: {callback_type: generic_api, endpoint: %q, flush_interval: 0.05%s}\n", name, l.url, more)
	}
	c := startCluster(t, 3, clusterOptions{regions: []string{"eu-west", "us-east", "eu-west"},
		config: regional(eu, us, lost, "litellm_settings:\n  callbacks: [told_eu, told_us, told_somewhere, written]\ncallback_settings:\n"+
			hook("told_eu", ", region: eu-west", inEU)+hook("told_us", ", region: us-east", inUS)+hook("told_somewhere", "", unplaced)+
			"  written: {callback_type: jsonl_file, path: calls.jsonl, flush_interval: 0.05}\n")})
	outside := c.nodes[1]
	key := c.nodes[0].newKey(t, `"data_regions":["eu-west"]`)
	free := c.nodes[0].newKey(t, "")

	ids := []string{}
	ask := func(n *node, key, body string, want int) answer {
		t.Helper()
		a := n.do(t, "POST", "/v1/chat/completions", key, body)
		if a.status != want {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a
	}
	for i := range 24 {
		n := c.nodes[i%2*2] // both in eu-west
		more := []string{"", `,"stream":true`, `,"fallbacks":["far"],"num_retries":3`}[i%3]
		a := ask(n, key, tellsOf("gpt", staysMark, more), 200)
		ids = append(ids, a.header.Get("x-litellm-call-id"))
	}
	for _, more := range []string{"", `,"stream":true`, `,"fallbacks":["far"]`} { // retries and fallbacks find nothing else
		body := strings.Replace(tellsOf("gpt", staysMark, more), "fake:words=3", "fake:status=503", 1)
		if a := c.nodes[0].do(t, "POST", "/v1/chat/completions", key, body); a.status < 400 {
			t.Errorf("a call that only another region could have answered: %d %s", a.status, a.body)
		}
	}
	if a := ask(c.nodes[0], key, tellsOf("far", staysMark, ""), 403); a.get("error.code").String() != "region_not_allowed" || !strings.Contains(a.body, "eu-west") {
		t.Errorf("a model without a deployment inside: %s", a.body)
	}
	for _, body := range []string{tellsOf("gpt", staysMark, ""), tellsOf("gpt", staysMark, `,"stream":true`), `{"broken": "` + staysMark} {
		a := ask(outside, key, body, 403)
		if a.get("error.code").String() != "region_not_allowed" || !strings.Contains(a.body, "us-east") || !strings.Contains(a.body, "eu-west") {
			t.Errorf("a node outside answers %s", a.body)
		}
	}
	for i := range 12 {
		ask(c.nodes[i%3], free, tellsOf("gpt", freeMark, ""), 200)
	}

	if n, _ := eu.With(staysMark); n < 24 {
		t.Errorf("%d calls came to the deployment inside", n)
	}
	for name, f := range map[string]*fake.Server{"in us-east": us, "in no known region": lost} {
		if n, _ := f.With(staysMark); n != 0 {
			t.Errorf("%d calls came to a deployment %s", n, name)
		}
	}
	if n, _ := us.With(freeMark); n == 0 {
		t.Error("calls without a rule go everywhere")
	}

	eventually(t, soon, "callbacks are told what they may hear", func() error {
		for name, l := range map[string]*listener{"us": inUS, "somewhere": unplaced} {
			if l.has(freeMark+" ") < 12 {
				return fmt.Errorf("%s has heard of %d free calls", name, l.has(freeMark+" "))
			}
		}
		for _, id := range ids {
			if inEU.has(id) == 0 {
				return fmt.Errorf("eu has not heard of %s", id)
			}
		}
		return nil
	})
	if inUS.has(staysMark)+unplaced.has(staysMark) != 0 {
		t.Error("a callback outside was told what a client said")
	}
	for _, id := range ids {
		if inUS.has(id)+unplaced.has(id) != 0 {
			t.Error("a callback outside was told of a call")
		}
		// Every node shows the row, and only those inside what stands in it.
		for _, n := range c.nodes {
			row := n.row(t, id)
			whole := strings.Contains(row.Raw, staysMark)
			if row.Get("spend").Float() <= 0 || whole != (n != outside) {
				t.Fatalf("%s shows of a call %s", n.o.args[1], row.Raw)
			}
			bodies := n.get(t, "/spend/logs/ui/"+id, masterKey)
			if strings.Contains(bodies.body, staysMark) != (n != outside) {
				t.Fatalf("%s shows the bodies %s", n.o.args[1], tail(bodies.body, 400))
			}
		}
	}
	for _, path := range []string{"/spend/logs/export?format=csv&bodies=true", "/spend/logs/export?format=jsonl&bodies=true", "/spend/logs?summarize=false&limit=1000"} {
		a := outside.get(t, path, masterKey)
		if a.status != 200 || strings.Contains(a.body, staysMark) || !strings.Contains(a.body, freeMark) {
			t.Errorf("%s from outside: %d, of the ruled calls %d marks", path, a.status, strings.Count(a.body, staysMark))
		}
	}

	// What the node outside has on its disk: its own rows, a file, copies of others.
	eventually(t, soon, "the node outside has rows of others", func() error {
		if heldIn(t, outside.o.dir, freeMark) == 0 {
			return fmt.Errorf("nothing of them is on its disk")
		}
		return nil
	})
	if n := heldIn(t, outside.o.dir, staysMark); n != 0 {
		t.Errorf("%d files of the node outside hold what must not leave", n)
	}
	if raw, err := os.ReadFile(filepath.Join(c.nodes[0].o.dir, "calls.jsonl")); err != nil || !strings.Contains(string(raw), staysMark) {
		t.Errorf("the file of a node inside: %v, %d bytes", err, len(raw))
	}

	// A rule that is made later holds for what is shown from then on.
	if a := c.nodes[0].do(t, "POST", "/key/update", masterKey, `{"key":"`+free+`","data_regions":["eu-west"]}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ask(outside, free, tellsOf("gpt", freeMark, ""), 403)
	if a := outside.get(t, "/spend/logs?summarize=false&limit=1000", masterKey); strings.Contains(a.body, freeMark) {
		t.Error("rows of a key that has a rule now are still shown outside")
	}
}

func TestRowsInADatabaseOutsideTheRegionsHoldNothingOfTheClient(t *testing.T) {
	t.Parallel()
	eu, us, lost := fake.Start(t), fake.Start(t), fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	c := startCluster(t, 2, clusterOptions{regions: []string{"eu-west", "us-east"}, config: regional(eu, us, lost, ""),
		env: []string{booksIn(url)}, args: []string{"--database-region", "us-east"}})
	in, free := c.nodes[0].newKey(t, `"data_regions":["eu-west"]`), c.nodes[0].newKey(t, "")
	for i := range 10 {
		more := []string{"", `,"stream":true`}[i%2]
		for _, a := range []answer{c.nodes[0].do(t, "POST", "/v1/chat/completions", in, tellsOf("gpt", staysMark, more)),
			c.nodes[i%2].do(t, "POST", "/v1/chat/completions", free, tellsOf("gpt", freeMark, more))} {
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	count := `SELECT count(*) FROM "LiteLLM_SpendLogs" AS r WHERE r.api_key = %s AND r.spend > 0 AND r.total_tokens > 0 AND position(%s in r::text) `
	sqlBecomes(t, url, "10", count+"> 0", sqlText(hashOf(free)), sqlText(freeMark))
	sqlBecomes(t, url, "10", count+"= 0", sqlText(hashOf(in)), sqlText(staysMark))
	for _, n := range c.nodes {
		if a := n.get(t, "/spend/logs/export?format=jsonl&bodies=true", masterKey); strings.Contains(a.body, staysMark) || !strings.Contains(a.body, freeMark) {
			t.Errorf("the books show %d marks that must not be in them", strings.Count(a.body, staysMark))
		}
	}
	booksAgree(t, url, in, c.nodes...)
}

func TestADatabaseInsideTheRegionsIsShownOutsideWithoutWhatMustStay(t *testing.T) {
	t.Parallel()
	eu, us, lost := fake.Start(t), fake.Start(t), fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	c := startCluster(t, 2, clusterOptions{regions: []string{"eu-west", "us-east"}, config: regional(eu, us, lost, ""),
		env: []string{booksIn(url)}, args: []string{"--database-region", "eu-west"}})
	in := c.nodes[0].newKey(t, `"data_regions":["eu-west"]`)
	for range 5 {
		if a := c.nodes[0].do(t, "POST", "/v1/chat/completions", in, tellsOf("gpt", staysMark, "")); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	sqlBecomes(t, url, "5", `SELECT count(*) FROM "LiteLLM_SpendLogs" AS r WHERE r.api_key = %s AND position(%s in r.messages::text) > 0`, sqlText(hashOf(in)), sqlText(staysMark))
	for i, n := range c.nodes {
		a := n.get(t, "/spend/logs/export?format=jsonl&bodies=true", masterKey)
		if strings.Contains(a.body, staysMark) != (i == 0) || strings.Count(a.body, hashOf(in)) < 5 {
			t.Errorf("node %d shows %d marks: %s", i, strings.Count(a.body, staysMark), tail(a.body, 300))
		}
	}
}
