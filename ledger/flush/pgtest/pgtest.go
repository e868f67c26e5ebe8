//go:build unix

// Package pgtest runs a real PostgreSQL for tests, from the programs that the
// machine has: one server for all tests of a process, or one of a test's own
// that can be stopped, killed and paused. It refuses to download anything, and
// is imported by tests only.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	bin  string
	home string // its directory, with the data in "data"
	port int
	cred *syscall.Credential // nil: runs as this user

	mu     sync.Mutex // guards the process
	cmd    *exec.Cmd
	exited chan struct{}
	log    *os.File
	watch  *os.File // closed by the system when this process ends: see guard
}

const missing = "PostgreSQL is not installed: put initdb and postgres on PATH, or install Debian's package postgresql"

var shared struct {
	sync.Mutex
	server *Server
	err    error
	tried  bool
}

// Start gives the server that all tests of this process share. It ends with the
// process. Without PostgreSQL the test is skipped, or fails where CI is set.
func Start(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.server, shared.err = launch()
	}
	return checked(t, shared.server, shared.err)
}

// StartOwn gives a server of the test's own, for tests that stop, kill or pause
// it.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	s, err := launch()
	checked(t, s, err)
	t.Cleanup(s.remove)
	return s
}

var errMissing = errors.New(missing)

func checked(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	switch {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "":
		t.Skip(missing)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

func launch() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if s.cred, err = postgresUser(); err != nil {
			return nil, err
		}
	}
	if s.home, err = os.MkdirTemp("", "pgtest-"); err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	if err := s.prepare(); err != nil {
		_ = os.RemoveAll(s.home)
		return nil, err
	}
	if err := s.guard(); err != nil {
		_ = os.RemoveAll(s.home)
		return nil, err
	}
	// The port is free now, not reserved: another process may be faster.
	for range 5 {
		if s.port, err = freePort(); err == nil {
			err = s.start()
		}
		if err == nil {
			return s, nil
		}
	}
	_ = s.watch.Close()
	return nil, err
}

// programs finds the directory of initdb and postgres, the newest of Debian's.
func programs() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(p), "postgres")); err == nil {
			return filepath.Dir(p), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errMissing
	}
	version := func(p string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(p))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

func postgresUser() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("look up user postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *Server) data() string { return filepath.Join(s.home, "data") }

func (s *Server) prepare() error {
	if s.cred != nil {
		if err := os.Chown(s.home, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return fmt.Errorf("hand PostgreSQL its directory: %w", err)
		}
	}
	c := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	c.Dir = s.home
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// guard leaves a shell behind that ends the server and removes its directory
// when this process has ended, in whatever way: its end of a pipe is then closed.
func (s *Server) guard() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("guard PostgreSQL: %w", err)
	}
	defer r.Close()
	const script = `read -r _; f="$1/data/postmaster.pid"
if [ -f "$f" ]; then p=$(head -n 1 "$f"); kill -QUIT "$p"; kill -CONT "$p"; fi 2>/dev/null
n=0; while [ -f "$f" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
rm -rf "$1"`
	c := exec.Command("/bin/sh", "-c", script, "sh", s.home)
	c.Stdin = r
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the tests must not end it first
	if err := c.Start(); err != nil {
		_ = w.Close()
		return fmt.Errorf("guard PostgreSQL: %w", err)
	}
	go func() { _ = c.Wait() }()
	s.watch = w
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start runs the server and waits until it answers. Children of one that was
// killed may be on their way out still: then it is tried again.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range 20 {
		if err = s.run(); err == nil || !strings.Contains(err.Error(), "shared memory block") {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		_ = os.Remove(filepath.Join(s.home, "log"))
	}
	return err
}

// run is one try of start; called with mu held.
func (s *Server) run() error {
	if s.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(s.home, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	c := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port))
	for _, set := range []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "full_page_writes=off",
		"max_connections=100", "shared_buffers=64MB", "max_wal_size=2GB", "autovacuum_naptime=10s", "log_min_messages=fatal",
	} {
		c.Args = append(c.Args, "-c", set)
	}
	c.Dir, c.Stdout, c.Stderr = s.home, log, log
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	if err := c.Start(); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w", err), log.Close())
	}
	exited := make(chan struct{})
	go func() {
		_ = c.Wait()
		_ = log.Close()
		close(exited)
	}()
	s.cmd, s.exited, s.log = c, exited, log
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := s.ping()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			s.cmd = nil
			said, _ := os.ReadFile(filepath.Join(s.home, "log"))
			return fmt.Errorf("start PostgreSQL: it ended: %s", said)
		case <-time.After(30 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.end(syscall.SIGKILL)
			return fmt.Errorf("start PostgreSQL: it does not answer: %w", err)
		}
	}
}

func (s *Server) ping() error {
	ctx, end := context.WithTimeout(context.Background(), 2*time.Second)
	defer end()
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// end signals the server and waits for it; called with mu held.
func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if sig == syscall.SIGKILL {
		// Its children would notice only later, and hold its memory until then.
		// It is stopped first, so that it makes no more of them.
		_ = s.cmd.Process.Signal(syscall.SIGSTOP)
		for _, pid := range children(s.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = s.cmd.Process.Kill()
	} else {
		_ = s.cmd.Process.Signal(sig)
	}
	<-s.exited
	s.cmd = nil
}

func (s *Server) remove() {
	s.mu.Lock()
	s.end(syscall.SIGKILL)
	s.mu.Unlock()
	_ = s.watch.Close()
	_ = os.RemoveAll(s.home)
}

// children are the processes that a process has started.
func children(parent int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return childrenOfProc(parent)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// childrenOfProc reads the same from /proc, for machines without ps.
func childrenOfProc(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// pid (name) state ppid …, and the name may hold anything.
		at := strings.LastIndexByte(string(b), ')')
		f := strings.Fields(string(b)[at+1:])
		if len(f) > 1 && f[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Stop ends the server in order; connections are refused from then on.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(syscall.SIGINT) // "fast": sessions are cut off
}

// Kill ends the server and its sessions at once, as a crash does.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(syscall.SIGKILL)
}

// Start runs a server again that was stopped or killed, at the same address.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// Pause stops the server's processes where they are: connections stand, and
// nothing answers.
func (s *Server) Pause() { s.each(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.each(syscall.SIGCONT) }

func (s *Server) each(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	// The parent first, so that it makes no child in between.
	_ = s.cmd.Process.Signal(sig)
	for _, pid := range children(s.cmd.Process.Pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// URL is the address of a database on the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

var databases atomic.Int64

// NewDatabase makes an empty database and gives its address. It is dropped at
// the end of the test.
func (s *Server) NewDatabase(t testing.TB) (url string) {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	s.Exec(t, s.URL("postgres"), "CREATE DATABASE "+name)
	t.Cleanup(func() {
		ctx, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		// A server of the test's own may be down by now, and takes it along.
		if c, err := pgx.Connect(ctx, s.URL("postgres")); err == nil {
			_, _ = c.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			_ = c.Close(ctx)
		}
	})
	return s.URL(name)
}

// Exec runs SQL in a session of its own.
func (s *Server) Exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	ctx, end := context.WithTimeout(context.Background(), 30*time.Second)
	defer end()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
