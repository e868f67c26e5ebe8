package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// masterKey of the node under test; it listens on loopback and dies with us.
const masterKey = "sk-bench-master-key"

// stage is the set of processes: mock and load on core 1, forwarder and node on
// core 0, of which only the one being measured runs.
type stage struct {
	dir       string
	self      string
	mock      *exec.Cmd
	forwarder *exec.Cmd
	node      *exec.Cmd
	mockURL   string
	forwURL   string
	nodeURL   string
	key       string
}

// The model groups of the node: one with a single deployment and no settings, as
// most are, and one with several, each with limits of its own, a fallback and
// retries.
const (
	oneDeployment      = "bench"
	severalDeployments = "several"
	deployments        = 4
)

// configOf is the node's config.
func configOf(provider string, o options) []byte {
	var b bytes.Buffer
	deployment := func(group, key, more string) {
		fmt.Fprintf(&b, "  - model_name: %s\n    litellm_params:\n      model: openai/gpt-4o-mini\n      api_base: %s/v1\n      api_key: %s\n%s", group, provider, key, more)
	}
	b.WriteString("model_list:\n")
	deployment(oneDeployment, "sk-upstream", "")
	for i := range deployments {
		deployment(severalDeployments, fmt.Sprintf("sk-upstream-%d", i), "      rpm: 100000000\n      tpm: 100000000000\n")
	}
	fmt.Fprintf(&b, "router_settings:\n  routing_strategy: %s\n  num_retries: 2\n  fallbacks: [{%s: [%s]}]\n", o.strategy, severalDeployments, oneDeployment)
	fmt.Fprintf(&b, "tollgate_settings:\n  ledger:\n    sync: %s\n", o.sync)
	return b.Bytes()
}

func start(o options) (*stage, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, self: self}
	if err := s.launch(o); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *stage) launch(o options) error {
	mock, forw, node := freeAddr(), freeAddr(), freeAddr()
	s.mockURL, s.forwURL, s.nodeURL = "http://"+mock, "http://"+forw, "http://"+node
	s.mock = pinned(1, s.self, "mock", mock)
	s.forwarder = pinned(0, s.self, "forward", forw, s.mockURL)
	file := filepath.Join(s.dir, "config.yaml")
	if err := os.WriteFile(file, configOf(s.mockURL, o), 0o600); err != nil {
		return err
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	args := []string{"serve", "--config", file, "--data-dir", filepath.Join(s.dir, "data"), "--listen", node, "--cluster-listen", "127.0.0.1:0"}
	if o.profile != "" {
		args = append(args, "--pprof-listen", freeAddr())
	}
	s.node = pinned(0, binary, args...)
	s.node.Env = append(os.Environ(), "LITELLM_MASTER_KEY="+masterKey, "LITELLM_MODE=PRODUCTION")
	for _, c := range []*exec.Cmd{s.mock, s.forwarder, s.node} {
		log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("log%d", time.Now().UnixNano())))
		if err != nil {
			return err
		}
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			return err
		}
	}
	for _, url := range []string{s.mockURL + "/ready", s.forwURL + "/ready", s.nodeURL + "/health/readiness"} {
		if err := waitFor(url); err != nil {
			return err
		}
	}
	return s.makeKey()
}

// makeKey makes a virtual key with every kind of limit and a budget, none of
// which the load reaches: the node is always measured governed.
func (s *stage) makeKey() error {
	body := `{"key_alias":"bench","models":["bench","several"],"rpm_limit":100000000,"tpm_limit":100000000000,"max_parallel_requests":100000,"max_budget":1000000,"budget_duration":"30d"}`
	req, err := http.NewRequest(http.MethodPost, s.nodeURL+"/key/generate", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var out struct{ Key string }
	if err := json.Unmarshal(raw, &out); err != nil || out.Key == "" {
		return fmt.Errorf("make a key: %s %s", res.Status, bytes.TrimSpace(raw))
	}
	s.key = out.Key
	return nil
}

func (s *stage) stop() {
	for _, c := range []*exec.Cmd{s.node, s.forwarder, s.mock} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(syscall.SIGCONT)
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// target is what one measurement goes to.
type target struct {
	name  string
	url   string
	key   string
	group string
	cmd   *exec.Cmd // nil for the mock itself
}

func (s *stage) targets() (forwarder, node target) {
	return target{"forwarder", s.forwURL, "sk-upstream", oneDeployment, s.forwarder}, target{"tollgate", s.nodeURL, s.key, oneDeployment, s.node}
}

// alone runs f while the other process on the measured core is stopped.
func (s *stage) alone(t target, f func() error) error {
	other := s.node
	if t.cmd == s.node {
		other = s.forwarder
	}
	_ = other.Process.Signal(syscall.SIGSTOP)
	defer func() { _ = other.Process.Signal(syscall.SIGCONT) }()
	return f()
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitFor(url string) error {
	limit := time.Now().Add(20 * time.Second)
	for time.Now().Before(limit) {
		if res, err := http.Get(url); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s is not ready after 20 s", url)
}

// cpu is the processor time a process has used, in clock ticks of 10 ms.
func cpu(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is a process's resident memory in bytes.
func rss(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
