package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// sdkWithin bounds one language's suite.
const sdkWithin = 2 * time.Minute

func TestTheOfficialNodePackagesWorkAgainstEveryProvider(t *testing.T) {
	needs(t, "sdk/node/node_modules/openai/package.json")
	sdk(t, freshGateway(t), "sdk/node", "node", "check.mjs")
}

func TestTheOfficialPythonPackagesWorkAgainstEveryProvider(t *testing.T) {
	needs(t, "sdk/python/.venv/bin/python")
	sdk(t, freshGateway(t), "sdk/python", filepath.Join(".venv", "bin", "python"), "check.py")
}

func TestTheOfficialPackagesWorkOnEachNodeOfAClusterAndThroughItsBalancer(t *testing.T) {
	needs(t, "sdk/node/node_modules/openai/package.json")
	needs(t, "sdk/python/.venv/bin/python")
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	targets := map[string]*node{"node-1": c.nodes[0], "node-2": c.nodes[1], "node-3": c.nodes[2]}
	if b := balancer(t, "nginx", c.nodes); b != nil {
		targets["nginx"] = b
	}
	for name, n := range targets {
		// Whichever node the balancer chooses, the key's one call a minute is made.
		limited := func() string {
			key := n.newKey(t, `"rpm_limit":1`)
			for _, n := range c.nodes {
				n.chat(t, key, "gpt", "hi", "")
			}
			return key
		}
		t.Run("Node on "+name, func(t *testing.T) { sdkWith(t, n, limited(), "sdk/node", "node", "check.mjs") })
		t.Run("Python on "+name, func(t *testing.T) {
			sdkWith(t, n, limited(), "sdk/python", filepath.Join(".venv", "bin", "python"), "check.py")
		})
	}
}

func freshGateway(t *testing.T) *node {
	t.Helper()
	return start(t, options{config: configFor(fake.Start(t), "")})
}

func needs(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the SDK packages are not installed (%v): run make setup", err)
	}
}

// sdk runs one language's suite against a gateway. The suite expects a refusal by a
// limit on its second call at the latest; where the limit has been used up before,
// on the first.
func sdk(t *testing.T, n *node, dir, program string, args ...string) {
	t.Helper()
	sdkWith(t, n, n.newKey(t, `"rpm_limit":1`), dir, program, args...)
}

func sdkWith(t *testing.T, n *node, limited, dir, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sdkWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "BASE_URL="+n.url, "API_KEY="+n.newKey(t, `"max_budget":50`), "LIMITED_KEY="+limited,
		"PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1")
	out, err := cmd.CombinedOutput()
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasPrefix(line, "FAIL") {
			t.Error(line)
		}
	}
	if err != nil {
		t.Errorf("the suite ended with %v:\n%s", err, out)
	}
	t.Logf("%d checks", strings.Count(string(out), "\nok   ")+1)
}
