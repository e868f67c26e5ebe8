package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// explain asks a node why; fields are those of the question.
func (n *node) explain(t testing.TB, key, fields string) answer {
	t.Helper()
	a := n.do(t, "POST", "/utils/explain", key, "{"+fields+"}")
	if a.status != 200 {
		t.Fatalf("explain %s: %d %s", fields, a.status, a.body)
	}
	return a
}

// TestExplainSaysBeforehandWhatACallThenMeets asks about a call, makes it, and asks
// what became of it, for each way in which it can be refused.
func TestExplainSaysBeforehandWhatACallThenMeets(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, ""), args: []string{"--region", "us-east"}})
	for name, c := range map[string]struct {
		key    string // fields
		model  string
		before int // calls that use something up
		check  string
		status int
		text   string // in the refusal
		unit   string // of the limit or budget that refuses
	}{
		"admitted":      {key: `"rpm_limit":5,"max_budget":1`},
		"model":         {key: `"models":["claude"]`, check: "key_models", status: 403, text: "key not allowed to access model"},
		"blocked":       {key: `"blocked":true`, check: "key", status: 401, text: "blocked"},
		"expired":       {key: `"duration":"1s"`, check: "key_expiry", status: 401, text: "Expired Key"},
		"region":        {key: `"data_regions":["eu-west"]`, check: "data_regions", status: 403, text: "eu-west"},
		"requests":      {key: `"rpm_limit":2`, before: 2, check: "rate_limit", status: 429, text: "2", unit: "requests"},
		"tokens":        {key: `"tpm_limit":1`, before: 1, check: "rate_limit", status: 429, text: "1", unit: "tokens"},
		"budget":        {key: `"max_budget":0.00000001`, check: "budget", status: 429, text: "Budget has been exceeded", unit: "usd"},
		"unknown model": {model: "nobody", check: "deployments", status: 400, text: "nobody"},
		"another model": {model: "claude"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model := c.model
			if model == "" {
				model = "gpt"
			}
			key := n.newKey(t, c.key)
			for range c.before {
				if a := n.chat(t, key, model, "hi", ""); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			question := fmt.Sprintf(`"key":%q,"body":%s`, key, chatBody(model, "hi", ""))
			if c.check == "key_expiry" {
				eventually(t, soon, "the key's time is over", func() error {
					if n.explain(t, masterKey, question).get("verdict").String() != "refused" {
						return fmt.Errorf("it is not")
					}
					return nil
				})
			}
			e := n.explain(t, masterKey, question)
			if strings.Contains(e.body, key) || strings.Contains(e.body, "sk-upstream") {
				t.Error("a secret is shown")
			}
			call := n.chat(t, key, model, "hi", "")
			if c.status == 0 {
				if e.get("verdict").String() != "admitted" || e.get("chosen").Raw == "" || e.get("max_cost.usd").Float() <= 0 || call.status != 200 {
					t.Errorf("%s\nbut the call: %d %s", e.body, call.status, call.body)
				}
				return
			}
			if e.get("verdict").String() != "refused" || e.get("refusal.check").String() != c.check ||
				int(e.get("refusal.status").Int()) != c.status || !strings.Contains(e.get("refusal.message").String(), c.text) {
				t.Errorf("%s: %s", name, e.get("refusal").Raw)
			}
			same := c.unit != "" || c.check == "key_expiry" || call.get("error.message").String() == e.get("refusal.message").String() // but for a moment's figures
			if call.status != c.status || !same {
				t.Errorf("the call is told %d %s\nand the explanation %s", call.status, call.body, e.get("refusal").Raw)
			}
			status, said := run(t, options{env: []string{"LITELLM_MASTER_KEY=" + masterKey}}, "explain", "--addr", n.url, "--key", key, "--model", model)
			if status != 0 || !strings.Contains(said, "REFUSED") || !strings.Contains(said, "would be refused with status "+fmt.Sprint(c.status)+" by the check "+c.check) || strings.Contains(said, key) {
				t.Errorf("tollgate explain (%d):\n%s", status, said)
			}
			id := call.header.Get("x-litellm-call-id")
			if c.unit == "" || id == "" {
				return
			}
			eventually(t, soon, "the refusal can be explained", func() error {
				a, err := n.call("GET", "/utils/explain?request_id="+id, masterKey, "")
				if err != nil || a.status != 200 {
					return fmt.Errorf("%d %s %w", a.status, a.body, err)
				}
				if no := a.get("refusal"); no.Get("unit").String() != c.unit || no.Get("scope").String() != "api_key" || !no.Get("limit").Exists() {
					t.Errorf("what refused: %s", no.Raw)
				}
				return nil
			})
		})
	}
}

func TestABudgetThatATeamHasUsedUpIsNamedToItsKeys(t *testing.T) {
	t.Parallel()
	n := start(t, options{config: configFor(fake.Start(t), "")})
	if a := n.do(t, "POST", "/team/new", masterKey, `{"team_id":"red","max_budget":0.00000001}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	key := n.newKey(t, `"team_id":"red","max_budget":1`)
	e := n.explain(t, key, `"model":"gpt","body":{"messages":[{"role":"user","content":"hi"}],"max_tokens":100,"user":"somebody"}`)
	no := e.get(`checks.#(ok==false)`)
	if e.get("refusal.check").String() != "budget" || no.Get("scope").String() != "team" || no.Get("id").String() != "red" || !no.Get("limit").Exists() {
		t.Errorf("%s\n%s", e.get("refusal").Raw, no.Raw)
	}
	call := n.chat(t, key, "gpt", "hi", "")
	a := n.do(t, "POST", "/utils/explain", key, fmt.Sprintf(`{"request_id":%q}`, call.header.Get("x-litellm-call-id")))
	if call.status != 429 || a.get("refusal.scope").String() != "team" || a.get("refusal.unit").String() != "usd" {
		t.Errorf("%d %s\nexplained: %s", call.status, call.body, a.body)
	}
}

func TestARestingDeploymentIsShownWithItsTimeAndWhy(t *testing.T) {
	t.Parallel()
	eu, us := fake.Start(t), fake.Start(t)
	n := start(t, options{config: twoPlaces(eu, us, "router_settings: {num_retries: 2, cooldown_time: 60}\n"), args: []string{"--region", "eu"}})
	key := n.newKey(t, "")
	eu.Refuse(60)
	if a := n.chat(t, key, "pair", "hi", ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	eventually(t, soon, "the deployment rests", func() error {
		e := n.explain(t, key, `"model":"pair"`)
		rests := e.get(`candidates.#(model_id=="in-eu")`)
		if rests.Get("verdict").String() != "cooling" || !rests.Get("until").Exists() || rests.Get("reason").String() == "" {
			return fmt.Errorf("%s", rests.Raw)
		}
		if e.get("chosen.model_id").String() != "in-us" {
			return fmt.Errorf("chosen: %s", e.get("chosen").Raw)
		}
		return nil
	})
}

// failsOver is a configuration whose model fails and whose fallback answers.
func failsOver(t testing.TB) string {
	dead, living, other := fake.Start(t), fake.Start(t), fake.Start(t)
	dead.Fail(500)
	return routed(dead, living, other, "num_retries: 1, fallbacks: [{alone: [gpt]}]")
}

// tellsTheChain checks what a node says of a call that a fallback has answered.
func tellsTheChain(a answer, node string) error {
	if a.status != 200 {
		return fmt.Errorf("%d %s", a.status, a.body)
	}
	var reasons []string
	for _, at := range a.get("attempts").Array() {
		reasons = append(reasons, at.Get("model_group").String()+":"+at.Get("reason").String()+":"+at.Get("error").String())
	}
	want := "alone::InternalServerError alone:retry:InternalServerError gpt:fallback:"
	if got := strings.Join(reasons, " "); got != want {
		return fmt.Errorf("attempts %s, not %s", got, want)
	}
	if a.get("node").String() != node || a.get("answered_by.model_group").String() != "gpt" || a.get("cost.usd").Float() <= 0 || a.get("caller.key_alias").String() != "ci" {
		return fmt.Errorf("%s", a.body)
	}
	return nil
}

func TestAnyNodeExplainsACallAlsoOfANodeThatIsGone(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]bool{"from its copy": false, "from PostgreSQL": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := clusterOptions{config: failsOver(t)}
			if database {
				o.env = []string{booksIn(pgtest.Start(t).NewDatabase(t))}
			}
			c := startCluster(t, 3, o)
			key, stranger := c.nodes[0].newKey(t, `"key_alias":"ci"`), c.nodes[0].newKey(t, "")
			server, other := c.followers()[0], c.followers()[1]
			name := nameOf(c.index(server))
			call := server.chat(t, key, "alone", "hi", "")
			if call.status != 200 {
				t.Fatalf("%d %s", call.status, call.body)
			}
			ids := []string{call.header.Get("x-litellm-call-id"), call.get("id").String()}
			explained := func() error {
				for _, id := range ids {
					a, err := other.call("POST", "/utils/explain", key, fmt.Sprintf(`{"request_id":%q}`, id))
					if err == nil {
						err = tellsTheChain(a, name)
					}
					if err != nil {
						return fmt.Errorf("%s: %w", id, err)
					}
				}
				return nil
			}
			eventually(t, soon, "a node that did not serve the call explains it", explained)
			if a, err := other.call("POST", "/utils/explain", stranger, fmt.Sprintf(`{"request_id":%q}`, ids[0])); err != nil || a.status != 404 {
				t.Errorf("another key's question: %v %d %s", err, a.status, a.body)
			}
			eventually(t, soon, "the call is copied", func() error {
				lag, err := server.metric("tollgate_replica_lag_entries")
				if err == nil && lag > 0 {
					err = fmt.Errorf("%v entries are not", lag)
				}
				return err
			})
			server.kill()
			eventually(t, formWithin, "it is explained when the node that served it is gone", explained)

			status, said := run(t, options{env: []string{"LITELLM_MASTER_KEY=" + masterKey}}, "explain", "--addr", other.url, ids[0])
			for _, part := range []string{"fallback", "InternalServerError", "ci", name} {
				if status != 0 || !strings.Contains(said, part) {
					t.Errorf("tollgate explain (%d) does not say %s:\n%s", status, part, said)
				}
			}
			status, said = run(t, options{env: []string{"LITELLM_MASTER_KEY=" + masterKey}}, "explain", "--addr", other.url, "--key", "ci", "--model", "gpt")
			if status != 0 || !strings.Contains(said, "would be admitted") {
				t.Errorf("tollgate explain --key (%d):\n%s", status, said)
			}
			status, said = run(t, options{env: []string{"LITELLM_MASTER_KEY=" + key}}, "explain", "--addr", other.url, "--output", "json", ids[1])
			// Before it stands a warning that a node is away.
			if raw := gjson.Parse(said[max(0, strings.IndexByte(said, '{')):]); status != 0 || raw.Get("answered_by.model_group").String() != "gpt" || raw.Get("caller.key_alias").String() != "ci" {
				t.Errorf("tollgate explain --output json, by the caller (%d):\n%s", status, said)
			}
		})
	}
}
