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
	sdk(t, "sdk/node", "node", "check.mjs")
}

func TestTheOfficialPythonPackagesWorkAgainstEveryProvider(t *testing.T) {
	needs(t, "sdk/python/.venv/bin/python")
	sdk(t, "sdk/python", filepath.Join(".venv", "bin", "python"), "check.py")
}

func needs(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the SDK packages are not installed (%v): run make setup", err)
	}
}

// sdk runs one language's suite against a fresh gateway.
func sdk(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	ctx, cancel := context.WithTimeout(t.Context(), sdkWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "BASE_URL="+n.url, "API_KEY="+n.newKey(t, `"max_budget":50`), "LIMITED_KEY="+n.newKey(t, `"rpm_limit":1`),
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
