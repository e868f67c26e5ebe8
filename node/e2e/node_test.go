package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tollgate/node/e2e/network"
)

const (
	masterKey = "sk-master-of-these-tests"
	// startWithin and stopWithin bound what a node may take on a busy machine.
	startWithin = time.Minute
	stopWithin  = time.Minute
	// soon bounds what takes a moment: nobody waits for the end of it, unless
	// something is wrong.
	soon = time.Minute
)

// options say how a node is started.
type options struct {
	config string   // text of config.yaml; "" runs without one
	env    []string // beside the test's own clean environment
	args   []string // further flags
	dir    string   // data directory; "" makes one
	prefix []string // a command that the node runs under
	listen string   // "" takes a free port

	command []string      // what makes it a node; none is serve
	cluster string        // cluster port; "" takes any
	host    *network.Host // where it runs; nil is the test's own machine
}

// node is one process.
type node struct {
	t    testing.TB
	o    options
	url  string
	http *http.Client // nil is the one that all share
	cmd  *exec.Cmd
	log  *logBuffer
	dead chan struct{} // closed when the process has ended
	err  error         // of the process, once dead
}

// logBuffer keeps what a process prints.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// binary is the program under test: bin/tollgate, or what the environment names,
// such as a build with the race detector.
func binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("TOLLGATE_E2E_BINARY"); path != "" {
		return path
	}
	path, err := filepath.Abs("../../bin/tollgate")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("there is no bin/tollgate (%v): run make build", err)
	}
	return path
}

// Ports of the tests are below those that systems give to outgoing connections: a
// node that starts again must find its port free, whoever has dialled meanwhile.
const (
	firstPort = 10000
	lastPort  = 32000
)

// nextPort counts on, so that tests beside each other never take the same port.
var nextPort atomic.Int64

// freePort is an address with a port that nobody has, neither of TCP nor of UDP.
func freePort(t testing.TB) string {
	t.Helper()
	start := int64(os.Getpid()) * 131 // runs beside each other begin apart
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+(start+nextPort.Add(1))%(lastPort-firstPort))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", addr)
		if err == nil {
			err = packets.Close()
		}
		if e := ln.Close(); err == nil && e == nil {
			return addr
		}
	}
	t.Fatal("no port is free for TCP and UDP alike")
	return ""
}

// start runs a node until the test ends and waits until it is ready.
func start(t testing.TB, o options) *node {
	t.Helper()
	n := prepare(t, o)
	n.begin()
	n.ready()
	return n
}

// prepare is a node that is yet to begin. It ends with the test.
func prepare(t testing.TB, o options) *node {
	t.Helper()
	if o.dir == "" {
		o.dir = filepath.Join(t.TempDir(), "data")
	}
	if o.listen == "" {
		o.listen = freePort(t)
	}
	n := &node{t: t, o: o, url: "http://" + o.listen}
	if o.host != nil {
		n.http = o.host.Client(client.Timeout)
		t.Cleanup(n.http.CloseIdleConnections)
	}
	t.Cleanup(func() {
		if n.dead == nil {
			return // it has never begun
		}
		n.kill()
		if said := n.log.String(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic: ") {
			t.Error("the node's log tells of a race or a panic")
		}
		if t.Failed() {
			t.Logf("%s, its end:\n%s", logOfNode, lastLines(n.log.String(), 60))
		}
	})
	return n
}

// logOfNode begins what a failed test shows of its nodes' logs.
const logOfNode = "log of the node"

func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// command is a tollgate process in a clean environment: no keys of the
// developer's reach it, and no .env of the working folder.
func command(t testing.TB, o options, args ...string) *exec.Cmd {
	t.Helper()
	argv := append(append([]string{}, o.prefix...), binary(t))
	if o.host != nil {
		argv = append(o.host.Prefix(), argv...)
	}
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "LITELLM_MASTER_KEY=" + masterKey, "TMPDIR=" + os.TempDir()}, o.env...)
	return cmd
}

func (n *node) begin() {
	t := n.t
	t.Helper()
	args := n.o.command
	if args == nil {
		args = []string{"serve"}
	}
	port := n.o.cluster
	if port == "" {
		port = "127.0.0.1:0"
	}
	args = append(args[:len(args):len(args)], "--data-dir", n.o.dir, "--listen", n.o.listen, "--cluster-listen", port,
		// Nobody balances load here, so a stop need not wait to be noticed. Tests with
		// a balancer say more.
		"--drain-notice", "200ms")
	if n.o.config != "" {
		args = append(args, "--config", writeFile(t, "config.yaml", n.o.config))
	}
	n.cmd = command(t, n.o, append(args, n.o.args...)...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if n.log == nil {
		n.log = &logBuffer{}
	}
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatalf("start a node: %v", err)
	}
	n.dead = make(chan struct{})
	go func(cmd *exec.Cmd, dead chan struct{}) {
		n.err = cmd.Wait()
		close(dead)
	}(n.cmd, n.dead)
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dial connects to the node, from where it runs.
func (n *node) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n.o.host != nil {
		return n.o.host.DialContext(ctx, network, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// ready waits until the node says that it may take traffic.
func (n *node) ready() {
	n.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DialContext: n.dial}}
	defer client.CloseIdleConnections()
	eventually(n.t, startWithin, "the node is ready", func() error {
		select {
		case <-n.dead:
			n.t.Fatalf("the node ended at its start: %v\n%s", n.err, tail(n.log.String(), 6000))
		default:
		}
		resp, err := client.Get(n.url + "/health/readiness")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("readiness is %d", resp.StatusCode)
		}
		return nil
	})
}

// eventually repeats check until it returns nil, and fails the test when that
// does not happen in time.
func eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s it still does not hold that %s: %v", within, what, err)
		}
		<-tick.C
	}
}

// kill ends the process without any warning, as a crash does.
func (n *node) kill() {
	select {
	case <-n.dead:
		return
	default:
	}
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("kill the node: %v", err)
	}
	<-n.dead
}

// stop ends the process in order and returns its exit status.
func (n *node) stop() int {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatalf("stop the node: %v", err)
	}
	select {
	case <-n.dead:
	case <-time.After(stopWithin):
		n.t.Errorf("the node did not stop within %s of SIGTERM", stopWithin)
		n.kill()
	}
	return n.cmd.ProcessState.ExitCode()
}

// again starts the process on the same data directory and address.
func (n *node) again() {
	n.t.Helper()
	n.begin()
	n.ready()
}

// run runs a command to its end and returns its exit status and what it said.
func run(t testing.TB, o options, args ...string) (status int, said string) {
	t.Helper()
	cmd := command(t, o, args...)
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit status is read below
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(startWithin):
		_ = cmd.Process.Kill() // it may end at this moment
		<-done
		t.Fatalf("tollgate %s did not end:\n%s", strings.Join(args, " "), tail(out.String(), 4000))
	}
	return cmd.ProcessState.ExitCode(), out.String()
}
