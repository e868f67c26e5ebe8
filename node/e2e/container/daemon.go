// Package container gives tests a Docker of their own: a daemon in its own
// network, mount and process namespaces, with images made of the files of this
// machine, as none may be fetched. When the daemon ends, however it ends, all of
// its containers end with it. It knows nothing about what runs in them.
package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tollgate/node/e2e/network"
)

// startWithin bounds the start of the daemon on a busy machine.
const startWithin = 30 * time.Second

// Daemon is a Docker daemon.
type Daemon struct {
	t      testing.TB
	host   *network.Host
	dir    string
	cmd    *exec.Cmd
	parent string // control group of all containers
	log    syncBuffer
	ended  chan struct{}
}

// syncBuffer keeps what the daemon says.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Missing names the Debian packages that a test with containers needs and this
// machine does not have.
func Missing() []string {
	var out []string
	for _, need := range []struct{ program, pkg string }{
		{"dockerd", "docker.io"}, {"docker", "docker.io"}, {"docker-compose", "docker-compose"}, {"iptables", "iptables"},
		{"ip", "iproute2"}, {"nsenter", "util-linux"}, {"unshare", "util-linux"}, {"nginx", "nginx"}, {"psql", "postgresql"},
	} {
		if _, err := look(need.program); err != nil && (len(out) == 0 || out[len(out)-1] != need.pkg) {
			out = append(out, need.pkg)
		}
	}
	return out
}

// look finds a program also where only root's PATH goes.
func look(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", program)
}

// Start runs a daemon until the test ends, on a host of a network of the test's.
func Start(t testing.TB, host *network.Host) (*Daemon, error) {
	t.Helper()
	dockerd, err := look("dockerd")
	if err != nil {
		return nil, err
	}
	// The socket's path must be short; a test's own folder is not.
	dir, err := os.MkdirTemp("", "tollgate-docker-")
	if err != nil {
		return nil, fmt.Errorf("make the daemon's folder: %w", err)
	}
	d := &Daemon{t: t, host: host, dir: dir, parent: "tollgate-" + filepath.Base(dir), ended: make(chan struct{})}
	argv := append(host.Prefix(),
		// The daemon is the first process of its namespace: its end is the end of
		// all others there, and of all mounts. unshare takes it along.
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		dockerd, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", d.address(), "--cgroup-parent", d.parent,
		"--dns", "127.0.0.1", "--log-level", "warn")
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	d.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start dockerd: %w", err), os.RemoveAll(dir))
	}
	go func() {
		_ = d.cmd.Wait() // it is killed in the end
		close(d.ended)
	}()
	t.Cleanup(d.close)
	return d, d.ready()
}

func (d *Daemon) address() string { return "unix://" + filepath.Join(d.dir, "docker.sock") }

func (d *Daemon) ready() error {
	deadline := time.Now().Add(startWithin)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		out, err := d.Docker("version", "--format", "{{.Server.Version}}")
		if err == nil {
			d.t.Logf("docker %s", out)
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("dockerd ended at its start:\n%s", d.log.String())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd is not ready after %s: %w\n%s", startWithin, err, d.log.String())
		}
	}
	return nil
}

func (d *Daemon) close() {
	if d.t.Failed() {
		d.t.Logf("dockerd said:\n%s", d.complaints())
	}
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Errorf("end dockerd: %v", err)
	}
	<-d.ended
	// What the daemon's namespaces held is gone a moment after the last process.
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := errors.Join(os.RemoveAll(d.dir), d.removeGroups())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Errorf("remove the daemon's folder and control groups: %v", err)
			return
		}
		<-tick.C
	}
}

// complaints is what the daemon has said, without what it says in any case.
func (d *Daemon) complaints() string {
	var out strings.Builder
	for line := range strings.Lines(d.log.String()) {
		if !strings.Contains(line, "level=info") && !strings.Contains(line, "cleanup warnings") && !strings.Contains(line, "cleaning up after shim") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// removeGroups removes the control groups that the containers were in; an empty
// group is removed as an empty folder is.
func (d *Daemon) removeGroups() error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + d.parent)
	if err != nil {
		return err
	}
	roots = append(roots, "/sys/fs/cgroup/"+d.parent)
	var errs []error
	for _, root := range roots {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // no such group
		}
		for _, e := range entries {
			if e.IsDir() {
				errs = append(errs, os.Remove(filepath.Join(root, e.Name())))
			}
		}
		errs = append(errs, os.Remove(root))
	}
	return errors.Join(errs...)
}

// Env is what a Docker client needs to talk to this daemon.
func (d *Daemon) Env() []string {
	return []string{"DOCKER_HOST=" + d.address(), "PATH=" + os.Getenv("PATH"), "HOME=" + d.dir,
		"DOCKER_BUILDKIT=0", "COMPOSE_ANSI=never"}
}

// Command is a command with the daemon's environment and more.
func (d *Daemon) Command(env []string, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(d.Env(), env...)
	return cmd
}

// Docker runs a docker command and returns what it printed.
func (d *Daemon) Docker(args ...string) (string, error) {
	return said(d.Command(nil, d.dir, "docker", args...))
}

// said runs a command to its end. Only its standard output is returned; an error
// has the rest.
func said(cmd *exec.Cmd) (string, error) {
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), bad.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Logs is what a container has printed.
func (d *Daemon) Logs(name string) string {
	out, err := d.Command(nil, d.dir, "docker", "logs", "--tail", "60", name).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// Host is where the daemon's published ports are.
func (d *Daemon) Host() *network.Host { return d.host }
