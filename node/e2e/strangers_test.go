package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// refusedLine starts a node that must not become one, and requires that it ends
// with one clear line which holds the given words.
func refusedLine(t *testing.T, o options, words string) {
	t.Helper()
	n := prepare(t, o)
	n.begin()
	select {
	case <-n.dead:
	case <-time.After(startWithin):
		n.kill()
		t.Errorf("it was not refused:\n%s", tail(n.log.String(), 2000))
		return
	}
	if n.cmd.ProcessState.ExitCode() == 0 {
		t.Error("a refused node ends with status 0")
	}
	var said []string
	for line := range strings.SplitSeq(n.log.String(), "\n") {
		if strings.HasPrefix(line, "tollgate: ") {
			said = append(said, line)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], words) {
		t.Errorf("it does not end with one line about %q:\n%s", words, tail(n.log.String(), 2000))
	}
}

// unchanged requires that the same nodes are members as before.
func unchanged(t *testing.T, c *cluster, count int) {
	t.Helper()
	for _, n := range c.living() {
		list, err := n.members()
		if err != nil || len(list) != count {
			t.Errorf("%d members, want %d (%v): %+v", len(list), count, err, list)
		}
	}
	c.waitFormed()
}

func TestTokensThatAreNotGoodAdmitNobody(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 2, clusterOptions{config: configFor(f, "")})
	other := startCluster(t, 1, clusterOptions{config: configFor(f, "")})
	door := c.nodes[0]
	joining := func(at, token string) options {
		o := c.options(9, "join", at, "--token", token)
		o.config = ""
		return o
	}

	used := door.token(t)
	c.add(c.options(2, "join", door.o.cluster, "--token", used))
	c.waitFormed()
	t.Run("used twice", func(t *testing.T) { refusedLine(t, joining(door.o.cluster, used), "used") })

	revoked := door.token(t)
	list := door.get(t, "/cluster/tokens", masterKey).get("tokens").Array()
	if len(list) != 1 {
		t.Fatalf("%d tokens are good, want one: %v", len(list), list)
	}
	if status, out := run(t, options{}, "token", "revoke", list[0].Get("id").String(), "--addr", door.url); status != 0 {
		t.Fatalf("revoke: %d %s", status, out)
	}
	t.Run("revoked", func(t *testing.T) { refusedLine(t, joining(door.o.cluster, revoked), "token") })

	foreign := other.nodes[0].token(t)
	t.Run("of another cluster", func(t *testing.T) { refusedLine(t, joining(door.o.cluster, foreign), "another cluster") })
	good := door.token(t)
	t.Run("shown to another cluster", func(t *testing.T) { refusedLine(t, joining(other.nodes[0].o.cluster, good), "another cluster") })
	t.Run("with a letter changed", func(t *testing.T) {
		letter := "a"
		if good[20] == 'a' {
			letter = "b"
		}
		refusedLine(t, joining(door.o.cluster, good[:20]+letter+good[21:]), "token")
	})
	t.Run("not a token", func(t *testing.T) { refusedLine(t, joining(door.o.cluster, "hello"), "token") })
	unchanged(t, c, 3)
	unchanged(t, other, 1)
	// What was refused did not use up the good one.
	c.add(c.options(3, "join", door.o.cluster, "--token", good))
	c.waitFormed()
}

// The shortest life of a token is a minute: this test waits beside others.
func TestAnExpiredTokenAdmitsNobody(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 1, clusterOptions{config: configFor(f, "")})
	door := c.nodes[0]
	token := door.token(t, "--ttl", "1m")
	eventually(t, 2*time.Minute, "the token is not listed any more", func() error {
		a, err := door.call("GET", "/cluster/tokens", masterKey, "")
		if err == nil && len(a.get("tokens").Array()) > 0 {
			err = fmt.Errorf("%s", a.body)
		}
		return err
	})
	refusedLine(t, c.options(9, "join", door.o.cluster, "--token", token), "expired")
	unchanged(t, c, 1)
}

func TestACopyOfALivingNodesDiskIsRefused(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	original := c.nodes[2]
	original.stop()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(original.o.dir)); err != nil {
		t.Fatal(err)
	}
	keepModes(t, original.o.dir, copied)
	original.again()
	c.waitFormed()
	o := c.options(9)
	o.dir = copied
	refusedLine(t, o, "cop")
	unchanged(t, c, 3)
	if a := original.chat(t, masterKey, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("the original: %d %s", a.status, a.body)
	}
}

// keepModes gives copied files the modes of their originals: keys are refused
// when others can read them.
func keepModes(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, rel), info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStrangerOnTheClusterPortGetsNothingAndHarmsNothing(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	door := c.nodes[0].o.cluster
	before := c.leader()
	for i, say := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff", strings.Repeat("\x00", 1<<16)} {
		conn, err := net.DialTimeout("tcp", door, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(40 * time.Second)) // a deadline on TCP cannot fail
		_, _ = io.WriteString(conn, say)                       // it may be closed already
		got, err := io.ReadAll(conn)
		conn.Close()
		if len(got) > 64 || os.IsTimeout(err) {
			t.Errorf("stranger %d was kept or told much: %q %v", i, got, err)
		}
	}
	// Proper TLS, and no certificate of this cluster.
	conn, err := tls.Dial("tcp", door, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(40 * time.Second))
		_, _ = conn.Write([]byte{1, 0, 0, 0, 1, 0})
		got, err := io.ReadAll(conn)
		conn.Close()
		if os.IsTimeout(err) || len(got) > 512 {
			t.Errorf("a stranger with TLS: %q %v", got, err)
		}
	}
	packets, err := net.Dial("udp", door)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		_, _ = fmt.Fprintf(packets, "packet %d that nobody has encrypted", i) // the port may refuse it
	}
	packets.Close()
	unchanged(t, c, 3)
	if c.leader() != before {
		t.Error("a stranger made the leader change")
	}
	for _, n := range c.nodes {
		if k := strings.Count(n.log.String(), "\n"); k > 200 {
			t.Errorf("%d lines in the log of a node: a stranger can fill it", k)
		}
	}
}

func TestAWrongGossipKeyIsRefusedInOneLineAndAMemberGetsTheRightOne(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	other := startCluster(t, 1, clusterOptions{config: configFor(f, "")})
	n := c.followers()[0]
	n.stop()
	keys := filepath.Join("cluster", "gossip.keys")
	foreign, err := os.ReadFile(filepath.Join(other.nodes[0].o.dir, keys))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.o.dir, keys), foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	n.again()
	// Its certificate proves that it is a member, so the state tells it the keys.
	unchanged(t, c, 3)
	var said int
	for _, each := range c.nodes {
		said += strings.Count(each.log.String(), "gossip with another key refused")
	}
	// None where the state told it the right keys before its first packet; else one
	// for packets and one for streams, which come without an address.
	if said > 2*len(c.nodes) {
		t.Errorf("%d lines about the wrong key, want two a node at most", said)
	}
	now, err := os.ReadFile(filepath.Join(n.o.dir, keys))
	if err != nil || string(now) == string(foreign) {
		t.Errorf("the node keeps the wrong key on its disk (%v)", err)
	}
	unchanged(t, other, 1)
}
