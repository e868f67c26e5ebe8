package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// A start that cannot succeed ends at once, with a status that scripts see and
// words that say what, where and how to mend it.
func TestABadStartEndsWithOneClearSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := writeFile(t, "a-file", "not a directory")
	for name, c := range map[string]struct {
		config string
		args   []string
		want   []string // each in what is printed
	}{
		"YAML that is none":       {config: "a: [1\n b: }", want: []string{"config.yaml:2:3", "not valid YAML"}},
		"a config of text":        {config: "hello", want: []string{"config.yaml:1"}},
		"an unknown strategy":     {config: "router_settings:\n  routing_strategy: fastest\n", want: []string{"config.yaml:2", "routing_strategy", `"fastest"`, "simple-shuffle"}},
		"a number that is text":   {config: "router_settings:\n  num_retries: many\n", want: []string{"config.yaml:2", "num_retries", `"many"`}},
		"an unknown setting mode": {config: "tollgate_settings:\n  ledger: {sync: sometimes}\n", want: []string{"config.yaml:2", "ledger.sync", "process, always"}},
		"a model_list of text":    {config: "model_list: gpt\n", want: []string{"config.yaml:1", "model_list"}},
		"a missing config file":   {args: []string{"--config", "/nowhere/config.yaml"}, want: []string{"/nowhere/config.yaml", "no such file"}},
		"an unknown flag":         {args: []string{"--confg", "x"}, want: []string{"--confg"}},
		"a bad listen address":    {args: []string{"--listen", "nonsense"}, want: []string{"--listen", "HOST:PORT"}},
		"a bad duration":          {args: []string{"--drain-timeout", "soon"}, want: []string{"--drain-timeout", "soon"}},
		"a bad size":              {args: []string{"--ledger-max-bytes", "lots"}, want: []string{"--ledger-max-bytes", "20GB"}},
		"an address that is taken": {args: []string{"--listen", taken.Addr().String()},
			want: []string{"--listen", taken.Addr().String(), "in use"}},
		"a data directory that is a file": {args: []string{"--data-dir", file}, want: []string{"--data-dir", file, "directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--cluster-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"}
			if c.config != "" {
				args = append(args, "--config", writeFile(t, "config.yaml", c.config))
			}
			status, said := run(t, options{}, append(args, c.args...)...)
			sentence(t, status, said, c.want...)
		})
	}
}

// sentence checks the last line that a failing start printed.
func sentence(t *testing.T, status int, said string, want ...string) {
	t.Helper()
	if status == 0 {
		t.Errorf("the exit status is 0")
	}
	i := strings.Index(said, "tollgate: ")
	if i < 0 {
		t.Fatalf("there is no sentence of tollgate's:\n%s", said)
	}
	message := strings.TrimSpace(said[i:])
	if strings.Contains(message, "\n") || strings.Contains(message, "goroutine") {
		t.Errorf("more than one sentence:\n%s", message)
	}
	for _, w := range want {
		if !strings.Contains(message, w) {
			t.Errorf("no %q in: %s", w, message)
		}
	}
}

func TestEveryFaultOfAConfigIsToldAtOnce(t *testing.T) {
	config := writeFile(t, "config.yaml", "router_settings:\n  routing_strategy: fastest\n  num_retries: many\nlitellm_settings:\n  rpm: lots\n")
	status, said := run(t, options{}, "serve", "--config", config, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0")
	if status == 0 {
		t.Error("the exit status is 0")
	}
	for _, w := range []string{"config.yaml:2:", "config.yaml:3:", "config.yaml:5:"} {
		if !strings.Contains(said, w) {
			t.Errorf("no %s in:\n%s", w, said)
		}
	}
}

func TestADataDirectoryServesOneNodeOnly(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	status, said := run(t, options{}, "serve", "--data-dir", n.o.dir, "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0")
	sentence(t, status, said, n.o.dir, "in use")
	if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("the first node no longer serves: %d %s", a.status, a.body)
	}
}

func TestABrokenIdentityStopsTheStartAndSaysWhere(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	n.stop()
	if err := os.WriteFile(filepath.Join(n.o.dir, "node.json"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, said := run(t, options{}, "serve", "--data-dir", n.o.dir, "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0")
	sentence(t, status, said, "node.json", "restore")
}

func TestAnUnreadyConfigLeavesTheRunningOne(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	n.stop()
	bad := writeFile(t, "config.yaml", "router_settings:\n  num_retries: many\n")
	status, said := run(t, options{}, "serve", "--config", bad, "--data-dir", n.o.dir, "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0")
	sentence(t, status, said, "num_retries")
	n.o.config = ""
	n.again()
	if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestABadModelEntryIsLeftOutAndTheOthersServe(t *testing.T) {
	f := fake.Start(t)
	config := strings.Replace(configFor(f, ""), "model_list:\n", "model_list:\n  - model_name: broken\n    litellm_params: {api_key: x}\n", 1)
	n := start(t, options{config: config})
	if !strings.Contains(n.log.String(), "model_list entry skipped") || !strings.Contains(n.log.String(), "config.yaml:3:") {
		t.Errorf("the entry's fault is not told:\n%s", n.log)
	}
	if a := n.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestWithoutAMasterKeyTheNodeMakesOneAndKeepsIt(t *testing.T) {
	n := start(t, options{env: []string{"LITELLM_MASTER_KEY="}})
	if a := n.get(t, "/key/list", ""); a.status != 401 {
		t.Errorf("the node is open: %d %s", a.status, a.body)
	}
	raw, err := os.ReadFile(filepath.Join(n.o.dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(n.o.dir, "master.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("others may read the kept key: %v %v", st.Mode(), err)
	}
	key := strings.TrimSpace(string(raw))
	for range 2 {
		if a := n.get(t, "/key/list", key); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		n.stop()
		n.again()
	}
}
