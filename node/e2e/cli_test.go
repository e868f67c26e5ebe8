package e2e

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
)

func TestTheCommandLineManagesARunningNode(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	tollgate := func(args ...string) string {
		t.Helper()
		status, said := run(t, options{}, append(args, "--addr", n.url)...)
		if status != 0 {
			t.Fatalf("tollgate %s: status %d\n%s", strings.Join(args, " "), status, said)
		}
		return said
	}
	made := tollgate("key", "create", "--alias", "from-the-shell", "--max-budget", "5", "--models", "gpt", "--output", "json")
	key := gjson.Get(made, "key").String()
	if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
		t.Fatalf("the new key: %d %s (made: %s)", a.status, a.body, made)
	}
	if a := n.chat(t, key, "claude", "hi", ""); a.status != 403 {
		t.Errorf("a model that the key may not use: %d %s", a.status, a.body)
	}
	if said := tollgate("key", "list"); !strings.Contains(said, "from-the-shell") {
		t.Errorf("the key is not listed:\n%s", said)
	}
	if said := tollgate("spend", "--output", "json"); !strings.Contains(said, "0.00006") && !strings.Contains(said, "6e-05") {
		t.Errorf("the spend of one call is not shown:\n%s", said)
	}
	status, said := run(t, options{env: []string{"LITELLM_MASTER_KEY=sk-wrong"}}, "key", "list", "--addr", n.url)
	sentence(t, status, said, "Invalid proxy server token")
	n.stop()
	status, said = run(t, options{}, "key", "list", "--addr", n.url)
	sentence(t, status, said, n.url)
}

func TestAConfigIsCheckedBeforeItIsUsed(t *testing.T) {
	good := writeFile(t, "good.yaml", "model_list:\n  - model_name: gpt\n    litellm_params: {model: openai/gpt-4o, api_key: sk-x}\n")
	if status, said := run(t, options{}, "config", "validate", good); status != 0 {
		t.Errorf("status %d: %s", status, said)
	}
	bad := writeFile(t, "bad.yaml", "router_settings:\n  num_retries: many\n")
	status, said := run(t, options{}, "config", "validate", bad)
	if status == 0 || !strings.Contains(said, "bad.yaml:2:") {
		t.Errorf("status %d: %s", status, said)
	}
	status, said = run(t, options{}, "config", "validate", "../../config/config.yaml")
	if status == 0 {
		t.Errorf("a path that does not exist from here is fine? %s", said)
	}
}
