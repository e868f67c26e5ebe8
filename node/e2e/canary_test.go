package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// canaries are secrets that must be found nowhere, by what they are.
type canaries map[string]string

// in reports which of them stand in some bytes, also packed ones.
func (c canaries) in(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(c)) {
		if i := bytes.Index(data, []byte(c[what])); i >= 0 {
			t.Errorf("%s: the %s stands in it: %q", where, what, data[max(0, i-60):i])
		}
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			plain, _ := io.ReadAll(r) // as much as there is
			c.in(t, where+" (unpacked)", plain)
		}
	}
}

// files looks through a directory and reports whether a mark that is no secret was
// found: without it the search would prove nothing.
func (c canaries) files(t *testing.T, dir, mark string) (marked bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		marked = marked || bytes.Contains(data, []byte(mark))
		c.in(t, path, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return marked
}

// overheard is what passed between hosts, up to a size.
type overheard struct {
	mu   sync.Mutex // guards the fields below
	seen [][]byte
	size int
	udp  int
}

func (o *overheard) hear(packet []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if packet[9] == network.UDP {
		o.udp++
	}
	if o.size += len(packet); o.size < 256<<20 {
		o.seen = append(o.seen, bytes.Clone(packet))
	}
}

func TestASecretStandsInNoFileNoPacketNoLogAndNoAnswer(t *testing.T) {
	t.Parallel()
	const mark = "an-alias-that-is-no-secret"
	secrets := canaries{
		"key of an OpenAI-type provider":    "sk-canary-openai-7Yq2Vd81",
		"key of an Anthropic-type provider": "sk-ant-canary-Zk39dLw0aPq",
		"key from the environment":          "canary-of-the-environment-5tG",
		"key of a model made over the API":  "sk-canary-made-model-Xb61Rf",
		"variable of the config":            "canary-langfuse-secret-0oPq9",
		"key in a config that is bad":       "sk-canary-in-a-bad-file-8hJ",
		"key in a config that is refused":   "sk-canary-in-a-diff-2wQ71n",
		"salt key":                          "canary-salt-key-of-old-33Fd",
		"new salt key":                      "canary-salt-key-new-91Kxq",
		"master key":                        masterKey,
		"key that somebody guessed":         "sk-canary-a-guess-77Ttq",
	}
	f := fake.Start(t)
	wire := network.New(t, 11)
	heard := &overheard{}
	config := strings.NewReplacer("sk-upstream-openai", secrets["key of an OpenAI-type provider"], "sk-upstream-anthropic", secrets["key of an Anthropic-type provider"],
		"model_list:\n", "model_list:\n  - model_name: env\n    litellm_params: {model: openai/gpt-4o, api_base: \"URL\", api_key: os.environ/CANARY_KEY}\n",
	)
	if wire != nil {
		f = fake.StartOn(t, providerOn(t, wire))
	}
	text := strings.ReplaceAll(config.Replace(configFor(f, "  store_model_in_db: true\nenvironment_variables:\n  LANGFUSE_SECRET_KEY: "+secrets["variable of the config"]+"\n")), "URL", f.OpenAI())
	c := startCluster(t, 2, clusterOptions{config: text, wire: wire, args: []string{"--detailed_debug"},
		env: []string{"LITELLM_SALT_KEY=" + secrets["salt key"], "CANARY_KEY=" + secrets["key from the environment"]}})
	if wire != nil {
		provider := strings.TrimPrefix(f.Anthropic(), "http://")
		port := provider[strings.LastIndex(provider, ":")+1:]
		wire.Tap(func(p []byte) {
			// Providers are spoken to in the clear here; a real one is not.
			var number uint16
			_, _ = fmt.Sscan(port, &number) // it is the port of a listener
			if !(network.Match{Protocol: network.TCP, Port: number}).Matches(p) {
				heard.hear(p)
			}
		})
	}
	// The third joins while the wire is listened to.
	token := c.nodes[1].token(t)
	secrets["join token"] = token[strings.LastIndex(token, ".")+1:]
	c.add(c.options(2, "join", c.nodes[1].o.cluster, "--token", token))
	c.waitFormed()
	var said strings.Builder
	ask := func(n *node, method, path, key, body string) answer {
		t.Helper()
		a := n.do(t, method, path, key, body)
		fmt.Fprintln(&said, method, path, a.status, a.header, a.body)
		return a
	}
	if a := ask(c.nodes[1], "POST", "/model/new", masterKey, `{"model_name":"made","litellm_params":{"model":"openai/gpt-4o","api_base":"`+f.OpenAI()+`","api_key":"`+secrets["key of a model made over the API"]+`"}}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	secrets["virtual key"] = c.nodes[0].newKey(t, `"key_alias":"`+mark+`"`)
	for _, n := range c.nodes {
		for _, model := range []string{"gpt", "claude", "env", "made"} {
			for _, order := range []string{"hi", "fake:status=401 fake:telltale", "fake:status=500 fake:telltale", "fake:nothing", "fake:html"} {
				for _, more := range []string{"", `"stream":true`} {
					ask(n, "POST", "/v1/chat/completions", secrets["virtual key"], chatBody(model, order, more))
				}
			}
		}
		ask(n, "POST", "/v1/chat/completions", secrets["key that somebody guessed"], chatBody("gpt", "hi", ""))
		ask(n, "GET", "/nowhere", secrets["key that somebody guessed"], "")
		for _, path := range []string{"/metrics", "/health", "/health/readiness", "/model/info", "/v1/model/info", "/v1/models", "/key/list?return_full_object=true",
			"/spend/logs", "/cluster/status", "/cluster/members", "/cluster/tokens", "/cluster/config", "/cluster/config/history", "/cluster/config/diff", "/cluster/secrets/rotate",
			"/key/info?key=" + fmt.Sprintf("%x", sha256.Sum256([]byte(secrets["virtual key"]))), "/get/config/callbacks", "/config/list"} {
			ask(n, "GET", path, masterKey, "")
		}
	}
	for what, more := range map[string]string{"key in a config that is bad": ", rpm: many", "key in a config that is refused": ""} {
		bad := fmt.Sprintf("model_list:\n  - model_name: x\n    litellm_params: {model: openai/x, api_key: %s%s}\n", secrets[what], more)
		path := writeFile(t, "config.yaml", bad)
		for _, args := range [][]string{{"config", "diff", path}, {"config", "validate", path}} {
			_, out := run(t, options{host: c.nodes[0].o.host}, append(args, addressed(args, c.nodes[0])...)...)
			said.WriteString(out)
		}
		ask(c.nodes[0], "POST", "/cluster/config/diff", masterKey, fmt.Sprintf(`{"text":%s}`, quote(bad)))
	}
	before := backupOf(t, c.nodes[0])
	status, out := run(t, options{host: c.nodes[0].o.host, env: []string{"TOLLGATE_NEW_SALT_KEY=" + secrets["new salt key"]}}, "secrets", "rotate", "--addr", c.nodes[0].url)
	said.WriteString(out)
	if status != 0 {
		t.Fatalf("secrets rotate: %d %s", status, out)
	}
	during := backupOf(t, c.nodes[1])
	for _, args := range [][]string{{"secrets", "status"}, {"secrets", "finish"}, {"config", "show", "--effective"}, {"config", "history"}, {"members"}, {"status"}, {"token", "list"}} {
		_, out := run(t, options{host: c.nodes[0].o.host}, append(args, addressed(args, c.nodes[0])...)...)
		said.WriteString(out)
	}
	after := backupOf(t, c.nodes[2])
	for _, n := range c.nodes {
		n.stop()
	}
	c.nodes[1].begin()
	c.nodes[2].begin()
	c.nodes[1].ready()
	c.nodes[2].ready()
	for _, n := range c.nodes[1:] {
		if a := n.chat(t, secrets["virtual key"], "made", "hi", ""); a.status != 200 {
			t.Errorf("after it all the secrets are not to be had: %d %s", a.status, a.body)
		}
		n.stop()
	}

	// Restoring writes a snapshot file.
	restored := filepath.Join(t.TempDir(), "restored")
	if status, out := run(t, options{env: []string{"LITELLM_SALT_KEY=" + secrets["new salt key"]}}, "restore", after, "--data-dir", restored); status != 0 {
		t.Errorf("restore: %d %s", status, out)
	} else {
		secrets.files(t, restored, mark)
	}

	secrets.in(t, "an answer", []byte(said.String()))
	for i, n := range c.nodes {
		secrets.in(t, "the log of "+nameOf(i), []byte(n.log.String()))
		if !secrets.files(t, n.o.dir, mark) {
			t.Errorf("the search finds nothing in the files of %s: it proves nothing", nameOf(i))
		}
	}
	for _, path := range []string{before, during, after} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		secrets.in(t, path, data)
	}
	if wire == nil {
		t.Log("NOT SHOWN HERE: what passes between the nodes, as there is no network to listen to")
		return
	}
	wire.Tap(nil)
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if heard.udp == 0 || len(heard.seen) == heard.udp {
		t.Errorf("%d packets were overheard, %d of them of gossip: the wire was not listened to", len(heard.seen), heard.udp)
	}
	for _, p := range heard.seen {
		secrets.in(t, "a packet", p)
	}
	t.Logf("%d packets between nodes, %d of gossip, %d bytes of answers and outputs", len(heard.seen), heard.udp, said.Len())
}

// addressed are the flags that name a node, for commands that ask one.
func addressed(args []string, n *node) []string {
	if args[0] == "config" && (args[1] == "validate" || args[1] == "show") {
		return nil
	}
	return []string{"--addr", n.url}
}
