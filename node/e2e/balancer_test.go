package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// balancer is nginx or HAProxy with its file of deploy/, in front of three nodes.
// The usual calls go through it.
func balancer(t *testing.T, kind string, nodes []*node) *node {
	t.Helper()
	listen := freePort(t)
	dir := t.TempDir()
	var file string
	var args []string
	change := []string{"node-eu:4000", host(nodes[0]), "node-us:4000", host(nodes[1]), "node-ap:4000", host(nodes[2])}
	switch kind {
	case "nginx":
		file = "nginx.conf"
		args = []string{"-p", dir, "-c", filepath.Join(dir, file), "-g", "daemon off;"}
		change = append(change, "listen 4000 ", "listen "+listen+" ", "/run/nginx.pid", filepath.Join(dir, "pid"),
			"access_log off;", "access_log off; client_body_temp_path "+dir+"/b; proxy_temp_path "+dir+"/p; fastcgi_temp_path "+dir+"/f; uwsgi_temp_path "+dir+"/u; scgi_temp_path "+dir+"/s;")
	case "haproxy":
		file = "haproxy.cfg"
		args = []string{"-db", "-f", filepath.Join(dir, file)}
		change = append(change, "bind :4000", "bind "+listen)
	}
	program := lookServer(t, kind)
	if program == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(string(text), change[i]) {
			t.Fatalf("deploy/%s has no %q", file, change[i])
		}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.NewReplacer(change...).Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &node{t: t, url: "http://" + listen, log: &logBuffer{}, dead: make(chan struct{})}
	b.cmd = exec.Command(program, args...)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.dead)
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM) // nginx takes its workers along
		<-b.dead
		if t.Failed() {
			t.Logf("log of %s:\n%s", kind, tail(b.log.String(), 4000))
		}
	})
	b.ready()
	return b
}

func host(n *node) string { return strings.TrimPrefix(n.url, "http://") }

// lookServer finds a server of Debian's. Without it there is nothing to show, and
// in CI that is a failure.
func lookServer(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed: run .ci/setup as root, or install %s", name, name)
	}
	t.Logf("NOT SHOWN HERE, %s is not installed", name)
	return ""
}

var balancers = []string{"nginx", "haproxy"}

func TestARollingRestartBehindABalancerFailsNoCallAndBreaksNoStream(t *testing.T) {
	for _, kind := range balancers {
		t.Run(kind, func(t *testing.T) {
			f := fake.Start(t)
			c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), args: []string{"--drain-notice", "2s"}})
			b := balancer(t, kind, c.nodes)
			if b == nil {
				return
			}
			load := traffics(t, b, c.nodes[0].newKey(t, ""), 16, 100, 60)
			load.moves(t, 200, 50)
			for _, n := range c.nodes {
				if status := n.stop(); status != 0 {
					t.Errorf("a node ended with %d", status)
				}
				n.again()
				c.waitFormed()
				load.moves(t, 100, 20)
			}
			load.end()
			calls, streams := load.done()
			t.Logf("%d calls and %d streams, the longest call took %s", calls, streams, load.longest)
			if failed := load.wrong(time.Time{}); len(failed) > 0 {
				t.Errorf("%d failed, first: %+v", len(failed), failed[0])
			}
		})
	}
}

func TestAKilledNodeBehindABalancerCostsOnlyWhatWasInFlightOnIt(t *testing.T) {
	for _, kind := range balancers {
		t.Run(kind, func(t *testing.T) {
			f := fake.Start(t)
			c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
			b := balancer(t, kind, c.nodes)
			if b == nil {
				return
			}
			const callers = 16
			load := traffics(t, b, c.nodes[0].newKey(t, ""), callers, 0, 0)
			load.moves(t, 200, 0)
			c.nodes[1].kill()
			after := time.Now()
			load.moves(t, 500, 0)
			c.nodes[1].again()
			load.moves(t, 200, 0)
			load.end()
			if failed := load.wrong(after); len(failed) > 0 {
				t.Errorf("%d calls failed that were sent after the kill, first: %+v", len(failed), failed[0])
			}
			if failed := load.wrong(time.Time{}); len(failed) > callers {
				t.Errorf("%d failed and only %d were in flight, first: %+v", len(failed), callers, failed[0])
			}
		})
	}
}

func TestADrainingNodeAcceptsClosesEachConnectionAndItsListenerLast(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, ""), args: []string{"--drain-notice", "1s"}})
	s := n.open(t, "/v1/chat/completions", masterKey, chatBody("gpt", "fake:gap=20ms fake:words=120", `"stream":true`))
	s.until(t, "word3 ")
	// A connection that is kept, as a balancer's.
	kept := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
	defer kept.CloseIdleConnections()
	ready := func() (status int, closes bool, err error) {
		resp, err := kept.Get(n.url + "/health/readiness")
		if err != nil {
			return 0, false, err
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Close, nil
	}
	if status, closes, err := ready(); status != 200 || closes || err != nil {
		t.Fatalf("before: %d %v %v", status, closes, err)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "it is not ready", func() error {
		if status, _, err := ready(); status != 503 {
			return fmt.Errorf("%d %v", status, err)
		}
		return nil
	})
	if _, closes, err := ready(); !closes || err != nil {
		t.Errorf("a draining node keeps the connection (%v)", err)
	}
	a := n.chat(t, masterKey, "gpt", "hi", "")
	if a.status != 200 {
		t.Errorf("a new call to a draining node: %d %s", a.status, a.body)
	}
	// The listener stays for as long as there is something in flight.
	s.until(t, "word100 ")
	if a, err := n.call("GET", "/health/liveliness", "", ""); err != nil || a.status != 200 {
		t.Errorf("the listener went before the stream: %v %d", err, a.status)
	}
	s.until(t, "data: [DONE]")
	<-n.dead
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("status %d", code)
	}
}
