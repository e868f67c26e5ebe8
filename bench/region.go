package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// region is three nodes of one region on this machine, with keys of their own.
type region struct {
	nodes []*exec.Cmd
	urls  []string
	file  string // the keys, one a line
	pprof string // the first node's profiler, when one is asked for
}

const regionSize = 3

// startRegion starts the first node and lets the others join it.
func (s *stage) startRegion(o options) (*region, error) {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return nil, err
	}
	r := &region{}
	first := freeAddr()
	for i := range regionSize {
		listen, peers := freeAddr(), first
		args := []string{"serve", "--config", filepath.Join(s.dir, "config.yaml")}
		if i > 0 {
			token := exec.Command(binary, "token", "create", "--addr", r.urls[0])
			token.Env = nodeEnv()
			out, err := token.Output()
			if err != nil {
				return r, fmt.Errorf("make a join token: %w", err)
			}
			peers = freeAddr()
			args = []string{"join", first, "--token", lastLine(out)}
		}
		args = append(args, "--name", fmt.Sprintf("bench-%d", i+1), "--region", "here", "--data-dir", filepath.Join(s.dir, fmt.Sprintf("region-%d", i)),
			"--listen", listen, "--cluster-listen", peers, "--advertise", peers)
		if o.profile != "" && i == 0 {
			r.pprof = freeAddr()
			args = append(args, "--pprof-listen", r.pprof)
		}
		cmd := exec.Command(binary, args...)
		cmd.Env = nodeEnv()
		log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("region-%d.log", i)))
		if err != nil {
			return r, err
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return r, err
		}
		r.nodes, r.urls = append(r.nodes, cmd), append(r.urls, "http://"+listen)
		if err := waitFor(r.urls[i] + "/health/readiness"); err != nil {
			return r, err
		}
	}
	return r, nil
}

func nodeEnv() []string {
	return append(os.Environ(), "LITELLM_MASTER_KEY="+masterKey, "LITELLM_MODE=PRODUCTION")
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func (r *region) stop() {
	for _, c := range r.nodes {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// cpu is the processor time of all its nodes.
func (r *region) cpu() (sum time.Duration) {
	for _, c := range r.nodes {
		sum += cpu(c.Process.Pid)
	}
	return sum
}

func (r *region) rss() (most int64) {
	for _, c := range r.nodes {
		most = max(most, rss(c.Process.Pid))
	}
	return most
}

// admin sends a request of the operator's.
func (r *region) admin(node int, method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, r.urls[node]+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, bytes.TrimSpace(raw))
	}
	return raw, err
}

// applied is the number of the last agreed command.
func (r *region) applied() (uint64, error) {
	raw, err := r.admin(0, http.MethodGet, "/cluster/status", "")
	if err != nil {
		return 0, err
	}
	var out struct{ Applied uint64 }
	return out.Applied, json.Unmarshal(raw, &out)
}

// makeKeys makes keys with a limit and a budget through the management API, many
// at a time and on every node, and writes them to a file for the load.
func (r *region) makeKeys(dir string, count int) error {
	keys := make([]string, count)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	begin := time.Now()
	var crew sync.WaitGroup
	for w := range 64 {
		crew.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				raw, err := r.admin(w%regionSize, http.MethodPost, "/key/generate", `{"models":["bench"],"rpm_limit":60,"max_budget":10,"budget_duration":"30d"}`)
				var out struct{ Key string }
				if err == nil {
					err = json.Unmarshal(raw, &out)
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				keys[i] = out.Key
				if i > 0 && i%10_000 == 0 {
					fmt.Printf("region   %d of %d keys made, %.0f/s\n", i, count, float64(i)/time.Since(begin).Seconds())
				}
			}
		})
	}
	crew.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("make keys: %w", *err)
	}
	fmt.Printf("region   %d keys made in %v\n", count, time.Since(begin).Round(time.Second))
	r.file = filepath.Join(dir, "keys")
	return os.WriteFile(r.file, []byte(strings.Join(keys, "\n")), 0o600)
}

// profile takes a processor profile of the first node for a while; what it
// returns waits for it.
func (r *region) profile(o options, suffix string, length time.Duration) (wait func()) {
	if r.pprof == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { done <- fetchProfile(r.pprof, o.profile+suffix, length) }()
	return func() {
		if err := <-done; err != nil {
			fmt.Println("profile:", err)
		}
	}
}

// measureRegion uses each of many keys once a minute, from any node, and puts
// beside it the same load through nginx and through the forwarder in the same run.
func measureRegion(s *stage, o options) error {
	if o.keys == 0 {
		return nil // it takes minutes: only when asked for
	}
	nginx, err := s.startNginx()
	if err != nil {
		return err
	}
	defer func() { _ = nginx.cmd.Process.Kill(); _ = nginx.cmd.Wait() }()
	_ = s.node.Process.Kill() // it would take processor time from the others
	r, err := s.startRegion(o)
	if r != nil {
		defer r.stop()
	}
	if err != nil {
		return err
	}
	if err := r.makeKeys(s.dir, o.keys); err != nil {
		return err
	}
	time.Sleep(15 * time.Second) // what the keys' making left to do is done
	idle := r.cpu()
	from, err := r.applied()
	if err != nil {
		return err
	}
	const rest = 10 * time.Second
	profiled := r.profile(o, ".rest", rest)
	time.Sleep(rest)
	idle = (r.cpu() - idle) / time.Duration(rest/time.Second) // a second
	profiled()
	to, err := r.applied()
	if err != nil {
		return err
	}
	fmt.Printf("region   at rest: %v of processor time a second, %d commands in %v, %.0f MiB the largest node\n", idle, to-from, rest, float64(r.rss())/(1<<20))

	rate := float64(o.keys) / 60
	direct := target{name: "direct", url: s.mockURL, key: "sk", group: oneDeployment}
	forwarder, _ := s.targets()
	base := map[string]*spreadRun{}
	for _, t := range []target{direct, nginx, forwarder} {
		if base[t.name], err = s.spread(t.name, t.cmd, []string{t.url}, "", rate, o.minute/2); err != nil {
			return err
		}
	}
	for i := range o.minutes {
		if from, err = r.applied(); err != nil {
			return err
		}
		profiled := r.profile(o, fmt.Sprintf(".minute%d", i+1), o.minute)
		before := r.cpu()
		run, err := s.spread("tollgate", nil, r.urls, r.file, rate, o.minute)
		if err != nil {
			return err
		}
		used := r.cpu() - before
		profiled()
		if to, err = r.applied(); err != nil {
			return err
		}
		again, err := s.spread(nginx.name, nginx.cmd, []string{nginx.url}, "", rate, o.minute/2)
		if err != nil {
			return err
		}
		d, f := base[direct.name], base[forwarder.name]
		perCall := float64(used.Microseconds()) / float64(run.Requests)
		working := float64((used - time.Duration(float64(idle)*run.Elapsed.Seconds())).Microseconds()) / float64(run.Requests)
		fmt.Printf("region   minute %d: %d keys, %.0f calls/s over %d nodes, %d refused or failed; added p50 %v, p99 %v; nginx before %v, %v, after %v, %v (to reach: p99 ≤ nginx's + 3ms)\n",
			i+1, o.keys, float64(run.Requests)/run.Elapsed.Seconds(), regionSize, run.Failures, run.percentile(.5)-d.percentile(.5), run.percentile(.99)-d.percentile(.99),
			base[nginx.name].percentile(.5)-d.percentile(.5), base[nginx.name].percentile(.99)-d.percentile(.99),
			again.percentile(.5)-d.percentile(.5), again.percentile(.99)-d.percentile(.99))
		fmt.Printf("region   minute %d: %d commands for %d calls, %.3f a call; processor time a call: forwarder %.1f µs, nginx %.1f µs, all nodes %.1f µs, less what they take at rest %.1f µs: ratio %.2f (to reach: ≤ 2.2)\n",
			i+1, to-from, run.Requests, float64(to-from)/float64(run.Requests), f.perCall, again.perCall, perCall, working, working/f.perCall)
		if run.First != "" {
			fmt.Println("region   the first that failed:", run.First)
		}
	}
	return nil
}

// spreadRun is what one block of spread load came to.
type spreadRun struct {
	result
	perCall float64 // µs of processor time of cmd
}

func (s *stage) spread(name string, cmd *exec.Cmd, urls []string, keys string, rate float64, length time.Duration) (*spreadRun, error) {
	child := exec.Command(s.self, "spread", "-urls", strings.Join(urls, ","), "-keys", keys, "-rate", fmt.Sprint(rate), "-time", length.String())
	child.Stderr = os.Stderr
	var before time.Duration
	if cmd != nil {
		before = cpu(cmd.Process.Pid)
	}
	out, err := child.Output()
	if err != nil {
		return nil, fmt.Errorf("load on %s: %w", name, err)
	}
	run := &spreadRun{}
	if err := json.Unmarshal(out, &run.result); err != nil {
		return nil, fmt.Errorf("load on %s: %w", name, err)
	}
	if cmd != nil {
		run.perCall = float64((cpu(cmd.Process.Pid) - before).Microseconds()) / float64(run.Requests)
	}
	return run, nil
}
