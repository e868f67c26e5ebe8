package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tollgate/node/e2e/fake"
)

// drifting is a cluster whose nodes have config files of their own, at places
// that stay.
type drifting struct {
	*cluster
	f     *fake.Server
	files []string
}

// with is the config of all, and models of these names.
func (d *drifting) with(models ...string) string {
	config := configFor(d.f, "")
	for _, m := range models {
		config = strings.Replace(config, "model_list:\n", fmt.Sprintf("model_list:\n  - model_name: %s\n    litellm_params: {model: openai/%s, api_base: %q, api_key: sk-upstream-%s}\n", m, m, d.f.OpenAI(), m), 1)
	}
	return config
}

func (d *drifting) write(t *testing.T, node int, text string) {
	t.Helper()
	if err := os.WriteFile(d.files[node], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// alike waits until every node reports the same config, wherever it is asked for,
// and serves just these models of the ones that the tests add.
func (d *drifting) alike(t *testing.T, models ...string) string {
	t.Helper()
	var hash string
	eventually(t, formWithin, "every node has the same config hash and the models "+strings.Join(models, " "), func() error {
		hash = ""
		for _, n := range d.living() {
			health, err := n.call("GET", "/health", "", "")
			if err != nil {
				return err
			}
			mine := health.get("config_hash").String()
			if mine == "" || hash != "" && mine != hash {
				return fmt.Errorf("/health says %q, another node %q", mine, hash)
			}
			hash = mine
			s, err := n.status()
			if err != nil {
				return err
			}
			list, err := n.members()
			if err != nil {
				return err
			}
			if !s.ConfigAlike || s.ConfigHash != hash || len(list) != len(d.nodes) {
				return fmt.Errorf("status %+v beside %s", s, hash)
			}
			for _, m := range list {
				if m.ConfigHash != hash {
					return fmt.Errorf("%s is said to run %q, not %s", m.Name, m.ConfigHash, hash)
				}
			}
			offered, err := n.call("GET", "/v1/models", masterKey, "")
			if err != nil {
				return err
			}
			var own []string
			for _, m := range offered.get("data.#.id").Array() {
				if strings.HasPrefix(m.String(), "own-") {
					own = append(own, m.String())
				}
			}
			if fmt.Sprint(own) != fmt.Sprint(models) {
				return fmt.Errorf("it offers %v", own)
			}
		}
		return nil
	})
	return hash
}

// config runs a config command on a node and requires its status and words.
func (d *drifting) config(t *testing.T, node, status int, args []string, words ...string) string {
	t.Helper()
	got, out := run(t, options{}, append(append([]string{"config"}, args...), "--addr", d.nodes[node].url)...)
	if got != status {
		t.Fatalf("config %v ended with %d, want %d:\n%s", args, got, status, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("config %v does not say %q:\n%s", args, w, out)
		}
	}
	return out
}

func (d *drifting) hangUp(t *testing.T, node int) {
	t.Helper()
	if err := d.nodes[node].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// warned counts a node's lines about its file.
func (d *drifting) warned(node int) int {
	return strings.Count(d.nodes[node].log.String(), "this node's config file is not what the cluster runs")
}

func TestDriftBetweenFilesAndTheClusterIsShownAndMended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &drifting{f: fake.Start(t)}
	for i := range 3 {
		d.files = append(d.files, filepath.Join(dir, fmt.Sprintf("config-%d.yaml", i+1)))
	}
	d.write(t, 0, d.with())
	d.write(t, 1, d.with("own-b"))
	d.write(t, 2, d.with())
	d.cluster = startCluster(t, 1, clusterOptions{args: []string{"--config", d.files[0]}})
	for i := 1; i < 3; i++ {
		d.o.args = []string{"--config", d.files[i]}
		d.join()
	}
	d.waitFormed()

	// One node's file says more. It is warned of, shown, and not used.
	same := d.alike(t)
	if d.warned(1) != 1 || d.warned(0) != 0 || d.warned(2) != 0 {
		t.Errorf("%d, %d and %d warnings about the files, want one of the second node", d.warned(0), d.warned(1), d.warned(2))
	}
	d.config(t, 0, 0, []string{"diff", "--exit-code"}, "the same")
	out := d.config(t, 1, 1, []string{"diff", "--exit-code"}, "+ model_list[own-b]")
	if strings.Contains(out, "sk-upstream") {
		t.Errorf("the difference tells a secret:\n%s", out)
	}
	d.config(t, 0, 1, []string{"diff", d.files[1], "--exit-code"}, "own-b")

	// It is not used after a restart either: a file that has not changed says nothing.
	d.nodes[1].stop()
	d.nodes[1].again()
	if again := d.alike(t); again != same || d.warned(1) != 2 {
		t.Errorf("after a restart: hash %s and before %s, %d warnings", again, same, d.warned(1))
	}

	// An edited file and SIGHUP change the config everywhere.
	d.write(t, 0, d.with("own-a"))
	d.hangUp(t, 0)
	ofA := d.alike(t, "own-a")
	if a := d.nodes[2].chat(t, masterKey, "own-a", "said-by-c", ""); a.status != 200 || d.f.Last("said-by-c").Header.Get("Authorization") != "Bearer sk-upstream-own-a" {
		t.Errorf("the new model on another node: %d %s", a.status, a.body)
	}
	d.config(t, 2, 1, []string{"diff", "--exit-code"}, "own-a")
	// SIGHUP without an edit undoes nobody's work.
	d.hangUp(t, 2)
	eventually(t, formWithin, "the node says that nothing is new", func() error {
		if !strings.Contains(d.nodes[2].log.String(), "the file says what it said before") {
			return fmt.Errorf("%s", tail(d.nodes[2].log.String(), 500))
		}
		return nil
	})
	d.alike(t, "own-a")

	// A bad edit changes nothing and is told with its line.
	d.write(t, 0, "router_settings:\n  num_retries: many\n")
	d.hangUp(t, 0)
	eventually(t, formWithin, "the bad file is told", func() error {
		if said := d.nodes[0].log.String(); !strings.Contains(said, "config not reloaded") || !strings.Contains(said, "config-1.yaml:2") {
			return fmt.Errorf("%s", tail(said, 500))
		}
		return nil
	})
	d.alike(t, "own-a")
	d.write(t, 0, d.with("own-a"))

	// The other node's file is made the cluster's by command; now the first drifts.
	d.config(t, 1, 0, []string{"apply"}, "applied as version")
	ofB := d.alike(t, "own-b")
	d.config(t, 0, 1, []string{"diff", "--exit-code"}, "+ model_list[own-a]", "- model_list[own-b]")
	d.config(t, 1, 0, []string{"diff", "--exit-code"}, "the same")
	before := d.warned(0)
	d.nodes[0].stop()
	d.nodes[0].again()
	if d.alike(t, "own-b") != ofB || d.warned(0) != before+1 {
		t.Errorf("an old file undid a newer config, or was not warned of (%d warnings)", d.warned(0)-before)
	}

	// And back, by its number in the history.
	var number string
	for line := range strings.Lines(d.config(t, 2, 0, []string{"history"})) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], ofA[:12]) {
			number = strings.TrimSuffix(fields[0], "*")
		}
	}
	d.config(t, 2, 0, []string{"rollback", number}, "runs again")
	if d.alike(t, "own-a") != ofA {
		t.Error("the version that was brought back has another hash")
	}
	d.config(t, 0, 0, []string{"diff", "--exit-code"}, "the same")
}
