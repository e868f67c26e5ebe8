package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

const (
	oldSalt = "the-salt-key-of-last-year"
	newSalt = "the-salt-key-of-this-year"
)

// rekeying is a cluster whose salt key is being changed.
type rekeying struct {
	*cluster
	f   *fake.Server
	key string
}

// with starts a stopped node with a salt key in its environment.
func (r *rekeying) with(t *testing.T, n *node, salt string) {
	t.Helper()
	n.o.env = []string{"LITELLM_SALT_KEY=" + salt}
	n.again()
	r.opens(t, n)
	r.waitFormed()
}

// opens requires that a node knows the providers' keys: those of the config and
// those of models made over the API.
func (r *rekeying) opens(t *testing.T, n *node) {
	t.Helper()
	for model, want := range map[string]string{"gpt": "sk-upstream-openai", "made": "sk-upstream-of-the-api"} {
		mark := "mark-" + model + "-" + n.o.listen + "-" + time.Now().Format(time.RFC3339Nano)
		a := n.chat(t, r.key, model, mark, "")
		got := r.f.Last(mark)
		if a.status != 200 || got == nil || got.Header.Get("Authorization") != "Bearer "+want {
			t.Errorf("%s on %s: %d %s, the provider got %v", model, n.o.listen, a.status, a.body, got)
		}
	}
}

// secrets runs a command and requires its status and words.
func (r *rekeying) secrets(t *testing.T, n *node, verb string, status int, words ...string) string {
	t.Helper()
	got, out := run(t, options{env: []string{"TOLLGATE_NEW_SALT_KEY=" + newSalt}}, "secrets", verb, "--addr", n.url)
	if got != status {
		t.Fatalf("secrets %s ended with %d, want %d:\n%s", verb, got, status, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("secrets %s does not say %q:\n%s", verb, w, out)
		}
	}
	return out
}

func TestTheSaltKeyIsChangedOnAServingClusterAndNoCallFails(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "  store_model_in_db: true\n"), env: []string{"LITELLM_SALT_KEY=" + oldSalt}})
	r := &rekeying{c, f, c.nodes[0].newKey(t, "")}
	a := c.nodes[1].do(t, "POST", "/model/new", masterKey, `{"model_name":"made","litellm_params":{"model":"openai/gpt-4o","api_base":"`+f.OpenAI()+`","api_key":"sk-upstream-of-the-api"}}`)
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, n := range c.nodes {
		r.opens(t, n)
	}
	serving, late, early := c.nodes[0], c.nodes[1], c.nodes[2]
	whole := []*traffic{traffics(t, serving, r.key, 3, 3, 20), trafficFor(t, serving, r.key, "made", 3, 0, 0)}

	r.secrets(t, serving, "status", 0, "current key")
	r.secrets(t, serving, "finish", 1, "No change of the key-encryption key is under way")
	// One node is away while the key is changed: it hears of it later.
	late.stop()
	r.secrets(t, serving, "rotate", 0, "not yet on    node-2", "still open")
	r.secrets(t, early, "finish", 1, "node-2")
	r.with(t, late, oldSalt)
	r.secrets(t, late, "status", 0, "still open")

	// In between both keys are good, on any node, also on one that was there.
	for _, salt := range []string{oldSalt, newSalt, oldSalt} {
		early.stop()
		r.with(t, early, salt)
	}
	late.stop()
	r.with(t, late, newSalt)
	r.secrets(t, late, "status", 0, "put the new key into")
	mid := []*traffic{traffics(t, late, r.key, 2, 2, 20), traffics(t, early, r.key, 2, 2, 20)}
	for _, load := range mid {
		load.moves(t, 50, 2)
	}
	before := backupOf(t, serving)
	if out := r.secrets(t, serving, "finish", 0, "current key"); strings.Contains(out, "still open") {
		t.Errorf("the former key still opens:\n%s", out)
	}
	for _, n := range c.nodes {
		r.opens(t, n)
	}
	for _, load := range append(whole, mid...) {
		load.moves(t, 50, 0)
		load.end()
		if failed := load.wrong(time.Time{}); len(failed) > 0 {
			t.Errorf("%d calls failed while the salt key was changed, first: %+v", len(failed), failed[0])
		}
	}
	after := backupOf(t, serving)

	// A node with only the old key in its environment has the new one on its disk.
	early.stop()
	r.with(t, early, oldSalt)
	// Without its disk's key the old one opens nothing, and says so.
	early.stop()
	kek := filepath.Join(early.o.dir, "kek")
	kept, err := os.ReadFile(kek)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(kek); err != nil {
		t.Fatal(err)
	}
	old := early.o
	old.env = []string{"LITELLM_SALT_KEY=" + oldSalt}
	r.refused(t, old)
	r.with(t, early, newSalt)
	if strings.Contains(string(kept), newSalt) || strings.Contains(string(kept), oldSalt) {
		t.Error("the key file holds the operator's text")
	}

	// In a fresh directory: a backup from before opens with either key, as it was
	// made while both were good, one from after with the new key alone.
	for name, try := range map[string]struct {
		backup, salt string
		status       int
	}{
		"of the change, old key": {before, oldSalt, 0}, "of the change, new key": {before, newSalt, 0},
		"from after, old key": {after, oldSalt, 1}, "from after, new key": {after, newSalt, 0},
	} {
		dir := filepath.Join(t.TempDir(), "fresh")
		status, out := run(t, options{env: []string{"LITELLM_SALT_KEY=" + try.salt}}, "restore", try.backup, "--data-dir", dir)
		if status != try.status || status != 0 && !strings.Contains(out, "LITELLM_SALT_KEY") {
			t.Errorf("restore %s: %d\n%s", name, status, out)
		}
	}
}

// backupOf makes a backup by the command and has it verified.
func backupOf(t *testing.T, n *node) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tollgate.snapshot")
	if status, out := run(t, options{host: n.o.host}, "backup", path, "--addr", n.url); status != 0 || !strings.Contains(out, "checked") {
		t.Fatalf("backup: %d\n%s", status, out)
	}
	if status, out := run(t, options{}, "snapshot", "verify", path); status != 0 || !strings.Contains(out, "good") {
		t.Fatalf("snapshot verify: %d\n%s", status, out)
	}
	return path
}

// refused starts a node that has the former key alone, whatever its own log still
// holds of the time before the change.
func (r *rekeying) refused(t *testing.T, o options) {
	t.Helper()
	n := prepare(t, o)
	n.begin()
	select {
	case <-n.dead:
		if log := n.log.String(); !strings.Contains(log, "LITELLM_SALT_KEY") {
			t.Errorf("it does not say what key is missing:\n%s", tail(log, 2000))
		}
	case <-time.After(soon):
		n.stop()
		t.Error("it serves")
	}
}
