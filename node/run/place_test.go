package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/join"
	"tollgate/config/model"
)

const testMasterKey = "sk-a-master-key-of-the-tests"

// running is one node of a test, started and stopped in this process.
type running struct {
	t    *testing.T
	o    Options
	said *saying
	stop context.CancelFunc
	done chan error
}

// saying is what a node has logged and printed.
type saying struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *saying) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// freeAddr is free for TCP and UDP alike.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := ln.Addr().String()
		require.NoError(t, ln.Close())
		if p, err := net.ListenPacket("udp", addr); err == nil {
			require.NoError(t, p.Close())
			return addr
		}
	}
	t.Fatal("no port is free for TCP and UDP alike")
	return ""
}

// newRunning is a node that is not started yet.
func newRunning(t *testing.T, name string) *running {
	env := map[string]string{"LITELLM_MASTER_KEY": testMasterKey}
	r := &running{t: t, o: Options{
		DataDir: t.TempDir(), Listen: freeAddr(t), ClusterListen: freeAddr(t), Name: name, Version: "test", DrainTimeout: time.Second,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}}
	t.Cleanup(func() {
		r.end()
		if t.Failed() && r.said != nil {
			t.Logf("%s said:\n%s", name, r.said)
		}
	})
	return r
}

func (r *running) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	r.said, r.stop, r.done = &saying{}, cancel, make(chan error, 1)
	o := r.o
	o.Out = r.said
	done := r.done
	go func() { done <- Serve(ctx, o) }()
}

// says waits until the node has said a text, and fails when it ends before.
func (r *running) says(text string) {
	r.t.Helper()
	for until := time.Now().Add(30 * time.Second); !strings.Contains(r.said.String(), text); {
		select {
		case err := <-r.done:
			r.done <- err
			require.Failf(r.t, "the node has ended", "%v; it never said %q", err, text)
		case <-time.After(20 * time.Millisecond):
		}
		require.True(r.t, time.Now().Before(until), "it never said %q", text)
	}
}

// fails waits until the node ends by itself, and returns why.
func (r *running) fails() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		require.Error(r.t, err)
		return err
	case <-time.After(30 * time.Second):
		require.Fail(r.t, "the node goes on")
		return nil
	}
}

// end stops the node, if it runs, and tells how it ended.
func (r *running) end() error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	r.stop = nil
	select {
	case err := <-r.done:
		return err
	case <-time.After(60 * time.Second):
		r.t.Error("the node does not stop")
		return nil
	}
}

// ask calls the management API.
func (r *running) ask(method, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.o.Listen+path, strings.NewReader(body))
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+testMasterKey)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(text)
}

// token makes a join token.
func (r *running) token(role string) string {
	r.t.Helper()
	status, text := r.ask("POST", "/cluster/token", fmt.Sprintf(`{"role":%q}`, role))
	require.Equal(r.t, 200, status, text)
	var got struct{ Token string }
	require.NoError(r.t, json.Unmarshal([]byte(text), &got))
	return got.Token
}

func (r *running) joins(door *running, role string) {
	r.o.Join, r.o.Token = []string{door.o.ClusterListen}, door.token(role)
}

// votes waits until as many nodes vote as wanted.
func (r *running) votes(want int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		_, text := r.ask("GET", "/cluster/status", "")
		var s struct{ Voters int }
		return json.Unmarshal([]byte(text), &s) == nil && s.Voters == want
	}, 40*time.Second, 100*time.Millisecond)
}

const (
	serves = "is ready at"
	wakes  = "a witness: it serves no API"
)

// three are three members that vote: two nodes and a witness.
func three(t *testing.T) (a, b, w *running) {
	a, b, w = newRunning(t, "a"), newRunning(t, "b"), newRunning(t, "w")
	a.begin()
	a.says(serves)
	b.joins(a, "node")
	b.begin()
	b.says(serves)
	w.joins(a, "witness")
	w.begin()
	w.says(wakes)
	a.votes(3)
	return a, b, w
}

func TestNodesComeBackAsWhatTheyWere(t *testing.T) {
	a, b, w := three(t)

	t.Run("a witness restarts as a witness", func(t *testing.T) {
		require.NoError(t, w.end())
		w.begin()
		w.says(wakes)
	})
	t.Run("a lost certificate is signed anew with the authority that the node has kept", func(t *testing.T) {
		require.NoError(t, b.end())
		require.NoError(t, os.Remove(filepath.Join(b.o.DataDir, "cluster", "node.crt")))
		b.begin()
		b.says(serves)
	})
	t.Run("lost gossip keys come from the state", func(t *testing.T) {
		require.NoError(t, b.end())
		require.NoError(t, os.Remove(filepath.Join(b.o.DataDir, "cluster", "gossip.keys")))
		b.begin()
		b.says(serves)
	})
	t.Run("a lost list of members is asked for by the others", func(t *testing.T) {
		require.NoError(t, b.end())
		require.NoError(t, os.Remove(filepath.Join(b.o.DataDir, "cluster", "peers.json")))
		b.begin()
		b.says(serves)
	})
	t.Run("a member that has lost its log does not vote again under its id", func(t *testing.T) {
		require.NoError(t, b.end())
		require.NoError(t, os.RemoveAll(filepath.Join(b.o.DataDir, "raft")))
		b.begin()
		require.ErrorContains(t, b.fails(), "has lost its log")
		_ = b.end()
		require.NoError(t, os.RemoveAll(filepath.Join(b.o.DataDir, "cluster")))
		b.joins(a, "node")
		b.begin()
		b.says(serves)
	})
}

func TestANodeFollowsALeaderThatCameWhileItWasAway(t *testing.T) {
	a, c, d := newRunning(t, "a"), newRunning(t, "c"), newRunning(t, "d")
	a.begin()
	a.says(serves)
	c.joins(a, "node")
	c.begin()
	c.says(serves)
	status, _ := c.ask("GET", "/cluster/backup", "") // its state outlasts the stop in a snapshot
	require.Equal(t, 200, status)
	require.NoError(t, c.end())

	d.joins(a, "node")
	d.begin()
	d.says(serves)
	status, text := a.ask("POST", "/cluster/leave", "{}")
	require.Equal(t, 202, status, text)
	require.NoError(t, a.fellAsleep())
	require.NoDirExists(t, filepath.Join(a.o.DataDir, "raft"))

	c.begin()
	c.says(serves)
}

func TestStartsPassOverWhatPasses(t *testing.T) {
	n := &node{log: newLogger(Options{Out: io.Discard})}
	for _, err := range []error{
		cluster.ErrNoQuorum, &cluster.NotLeaderError{LeaderID: "x"}, cluster.ErrOutcomeUnknown, cluster.ErrBusy,
		fmt.Errorf("propose the config: %w", &model.Refused{Table: model.Configs, ID: "2", Have: 7}),
	} {
		tries := 0
		require.NoError(t, n.insist(t.Context(), "go on", func() error {
			if tries++; tries < 2 {
				return fmt.Errorf("wrapped: %w", err)
			}
			return nil
		}), err)
		require.Equal(t, 2, tries)
	}
	for _, err := range []error{cluster.ErrStaleStart, cluster.ErrRemoved, cluster.ErrStartRefused, cluster.ErrClosed, io.ErrUnexpectedEOF} {
		tries := 0
		require.ErrorIs(t, n.insist(t.Context(), "go on", func() error { tries++; return err }), err)
		require.Equal(t, 1, tries)
	}
}

func TestARecoveredNodeIsOfTheNewGenerationFromItsFirstWord(t *testing.T) {
	a, b, w := three(t)
	for _, n := range []*running{w, a, b} {
		require.NoError(t, n.end())
	}
	require.NoError(t, Recover(t.Context(), RecoverOptions{DataDir: b.o.DataDir, Env: b.o.Env, Out: io.Discard}))
	files, err := join.OpenStore(b.o.DataDir)
	require.NoError(t, err)
	known, err := files.Peers()
	require.NoError(t, err)
	require.EqualValues(t, 1, known.Generation)
	require.Len(t, known.Members, 1)

	a.begin() // leads nobody, and waits for the others
	w.begin()
	b.begin()
	b.says(serves)
	require.ErrorContains(t, a.fails(), "recovered without this node")
}

func TestAJoinThatBrokeOffIsTakenUpUnderTheSameId(t *testing.T) {
	a, b := newRunning(t, "a"), newRunning(t, "b")
	a.begin()
	a.says(serves)
	b.joins(a, "node")
	b.begin()
	b.says(serves)
	require.NoError(t, b.end())
	// As after a crash when all was kept but the cluster's id.
	require.NoError(t, os.RemoveAll(filepath.Join(b.o.DataDir, "raft")))
	path := filepath.Join(b.o.DataDir, "node.json")
	before := b.identity()
	require.NotEmpty(t, before["cluster_id"])
	delete(before, "cluster_id")
	text, err := json.Marshal(before)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))

	b.begin()
	b.says(serves)
	require.Equal(t, before["node_id"], b.identity()["node_id"], "the token has no second use for another node")
}

// identity is what node.json says.
func (r *running) identity() map[string]any {
	text, err := os.ReadFile(filepath.Join(r.o.DataDir, "node.json"))
	require.NoError(r.t, err)
	var id map[string]any
	require.NoError(r.t, json.Unmarshal(text, &id))
	return id
}

// fellAsleep waits until the node has ended by itself, in order.
func (r *running) fellAsleep() error {
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(60 * time.Second):
		return errors.New("the node goes on")
	}
}
