package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// unrouted makes a network namespace that has a loopback device and no route,
// and returns the command that runs others in it. Where the machine cannot make
// one the reason is told and nil returned; in CI it is a failure that what can be
// installed is not.
func unrouted(t *testing.T) []string {
	t.Helper()
	cannot := func(why string) []string {
		t.Logf("NOT SHOWN HERE, there is no network namespace: %s", why)
		return nil
	}
	ip, err := exec.LookPath("ip")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal("no network namespace can be made: install iproute2")
	case err != nil:
		return cannot("install iproute2")
	case os.Getuid() != 0:
		return cannot("only root may make one")
	}
	name := fmt.Sprintf("tollgate-e2e-%d", os.Getpid())
	if out, err := exec.Command(ip, "netns", "add", name).CombinedOutput(); err != nil {
		return cannot(strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() {
		if out, err := exec.Command(ip, "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("delete the namespace: %v %s", err, out)
		}
	})
	inside := []string{ip, "netns", "exec", name}
	if out, err := exec.Command(ip, "-n", name, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("bring up the loopback device: %v %s", err, out)
	}
	return inside
}

func TestWithoutAnyRouteTheNodeServesMakesKeysAndReadsSpend(t *testing.T) {
	inside := unrouted(t)
	if inside == nil {
		return
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("the test asks from inside the namespace with curl: install curl")
	}
	n := &node{t: t, o: options{prefix: inside, listen: "127.0.0.1:4000", dir: t.TempDir(), config: `model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, mock_response: "an answer from inside"}
  - model_name: claude-3-5-haiku
    litellm_params: {model: anthropic/claude-3-5-haiku-20241022, mock_response: "an answer from inside"}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
`}}
	n.url = "http://127.0.0.1:4000"
	n.begin()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("log of the node:\n%s", n.log)
		}
	})
	ask := func(args ...string) (string, error) {
		argv := append(append([]string{}, inside[1:]...), curl, "-sS", "--max-time", "10", "-H", "Content-Type: application/json")
		out, err := exec.Command(inside[0], append(argv, args...)...).CombinedOutput()
		return string(out), err
	}
	must := func(want string, args ...string) string {
		t.Helper()
		out, err := ask(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("no %q (%v) in: %s", want, err, out)
		}
		return out
	}
	eventually(t, startWithin, "the node is ready", func() error {
		out, err := ask("-f", n.url+"/health/readiness")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	at := time.Now()
	master := "Authorization: Bearer " + masterKey
	made := must(`"key":"sk-`, n.url+"/key/generate", "-H", master, "-d", `{"max_budget":1}`)
	_, rest, _ := strings.Cut(made, `"key":"`)
	key, _, _ := strings.Cut(rest, `"`)
	for _, model := range []string{"gpt-4o", "claude-3-5-haiku"} {
		must("an answer from inside", n.url+"/v1/chat/completions", "-H", "Authorization: Bearer "+key, "-d", chatBody(model, "hi", ""))
		must("an answer from inside", n.url+"/v1/messages", "-H", "x-api-key: "+key, "-d", messagesBody(model, "hi", ""))
	}
	out := must(`"spend":`, n.url+"/key/info?key="+key, "-H", master)
	if strings.Contains(out, `"spend":0,`) {
		t.Errorf("four calls cost nothing: the prices are missing: %s", out)
	}
	must("gpt-4o", n.url+"/spend/logs?api_key="+key, "-H", master)
	if took := time.Since(at); took > soon {
		t.Errorf("it took %s: something waited for the network", took)
	}
}
