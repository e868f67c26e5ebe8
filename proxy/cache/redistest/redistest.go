// Package redistest runs a real Redis for tests, on a port of its own and without
// files. It is for tests only and knows nothing of what is kept there.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one redis-server. It ends with the test.
type Server struct {
	t    testing.TB
	Addr string
	Host string
	Port string
	args []string
	cmd  *exec.Cmd
}

// patience bounds how long a server may take to answer on a busy machine.
const patience = 30 * time.Second

// Start runs a server with further arguments, such as --requirepass.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartAt(t, free(t), args...)
}

// StartAt is Start at an address.
func StartAt(t testing.TB, addr string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Addr: addr, args: args}
	var err error
	if s.Host, s.Port, err = net.SplitHostPort(addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	s.Again()
	return s
}

// Again starts the server that was killed, empty, at its former address.
func (s *Server) Again() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("there is no redis-server, which this test needs: run .ci/setup, or apt-get install redis-server")
	}
	// A file of settings may be the first argument only.
	args := append(s.args[:len(s.args):len(s.args)], "--bind", s.Host, "--port", s.Port, "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", s.t.TempDir())
	s.cmd = exec.Command(path, args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = s.answers(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server at %s does not answer: %v", s.Addr, err)
		}
		<-tick.C
	}
}

// answers reports whether the server speaks, be it to ask for a password.
func (s *Server) answers() error {
	reply, err := s.Command("PING")
	if err != nil {
		return err
	}
	if reply != "+PONG" && !strings.HasPrefix(reply, "-NOAUTH") {
		return errors.New(reply)
	}
	return nil
}

// Command sends one command of plain words and returns the first line of the
// answer.
func (s *Server) Command(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", strings.Join(words, " ")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

// Kill ends the server without any warning.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill redis-server: %v", err)
	}
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}

// Stop halts the process: connections stay open and nothing answers.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue ends Stop.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal redis-server: %v", err)
	}
}

func free(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
