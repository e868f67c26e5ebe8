package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/config/secret"
)

// Level says how new the state must be that a read sees.
type Level string

// The levels.
const (
	// Local is what this node has.
	Local Level = "local"
	// Leader is at least what the leader showed a moment ago.
	Leader Level = "leader"
	// Linearizable is at least what anybody was shown before the question.
	Linearizable Level = "linearizable"
)

// Consistency is what a read asks for.
type Consistency struct {
	Level    Level  // "": local
	MinIndex uint64 // state of at least this index
}

// readWithin bounds a read whose caller sets no deadline.
const readWithin = 5 * time.Second

// Applied is the index of the last command that readers on this node see.
func (n *Node) Applied() uint64 {
	index, _ := n.fsm.Applied()
	return index
}

// WaitApplied waits until readers on this node see the command at index, which
// a leader has named: Submit's, or LeaderIndex's.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	for {
		have, moved := n.fsm.Applied()
		if have >= index {
			return nil
		}
		select {
		case <-moved:
		case <-n.fsm.Stopped():
			return n.fsm.Err()
		case <-n.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d, at %d: %w", index, have, ctx.Err())
		}
	}
}

// hopelessAfter is the pause between looks at whether waiting is of any use.
const hopelessAfter = 500 * time.Millisecond

// WaitReady waits until the node can serve: it has a leader, and what it needs
// to open secrets. Run must be running.
func (n *Node) WaitReady(ctx context.Context) error {
	look := time.NewTicker(hopelessAfter)
	defer look.Stop()
	for {
		select {
		case <-n.readyCh:
			return nil
		case <-n.fsm.Stopped():
			return n.fsm.Err()
		case <-n.removed:
			return fmt.Errorf("wait until the node is ready: %w", cmp.Or(n.removedErr(), ErrRemoved))
		case <-n.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait until the node is ready: %w", errors.Join(ctx.Err(), n.keys.failure()))
		case <-look.C:
			if err := n.hopeless(ctx); err != nil {
				return err
			}
		}
	}
}

// hopeless is why a follower need not wait: it has all that the leader has, and
// the key-encryption key that it was given does not open the newest data keys.
// What the leader itself lacks ends its taking over.
func (n *Node) hopeless(ctx context.Context) error {
	if !errors.Is(n.keys.failure(), secret.ErrWrongKEK) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	index, err := n.askIndex(ctx, Leader)
	if err != nil || n.WaitApplied(ctx, index) != nil {
		return nil // nobody can tell yet
	}
	if err := n.keys.failure(); errors.Is(err, secret.ErrWrongKEK) {
		return err
	}
	return nil
}

// Wait waits until readers on this node see what the consistency asks for, at
// most until ctx ends. It returns for how long this node has not heard of a
// leader, also with an error: then what it has may be that old. The error is
// ErrBehind, ErrNoQuorum or ErrNotLeader.
func (n *Node) Wait(ctx context.Context, c Consistency) (time.Duration, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readWithin)
		defer cancel()
	}
	index := c.MinIndex
	switch c.Level {
	case "", Local:
	case Leader, Linearizable:
		now, err := n.askIndex(ctx, c.Level)
		if err != nil {
			return n.Staleness(), err
		}
		index = max(index, now)
	default:
		return n.Staleness(), fmt.Errorf("read consistency %q: want local, leader or linearizable", c.Level)
	}
	if err := n.WaitApplied(ctx, index); err != nil {
		return n.Staleness(), fmt.Errorf("%w: %w", ErrBehind, err)
	}
	return n.Staleness(), nil
}

// askIndex is the index that a read of the level has to wait for. The leader is
// asked once: a read is cheaper repeated by its caller than held.
func (n *Node) askIndex(ctx context.Context, level Level) (uint64, error) {
	index, err := n.indexHere(ctx, level)
	var other *NotLeaderError
	if n.cfg.Calls == nil || !errors.As(err, &other) {
		return index, err
	}
	reply, err := n.cfg.Calls.Call(ctx, other.LeaderID, callIndex, []byte(level))
	if err != nil {
		return 0, question(ctx, fromWire(other.LeaderID, err))
	}
	if len(reply) != 8 {
		return 0, fmt.Errorf("%w: the leader's index: %w", ErrBehind, errForwardForm)
	}
	return binary.BigEndian.Uint64(reply), nil
}

// question is an error of a call that asked only: nothing can have happened.
func question(ctx context.Context, err error) error {
	if errors.Is(err, ErrOutcomeUnknown) || ctx.Err() != nil {
		return fmt.Errorf("%w: %s", ErrBehind, err.Error())
	}
	return err
}

func (n *Node) serveIndex(ctx context.Context, _ string, request []byte) ([]byte, error) {
	index, err := n.indexHere(ctx, Level(request))
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

func (n *Node) indexHere(ctx context.Context, level Level) (uint64, error) {
	if level == Linearizable {
		return n.LeaderIndex(ctx)
	}
	if !n.leads() {
		return 0, n.notLeader()
	}
	return n.Applied(), nil
}

// Barrier waits until everything committed before it is applied here. Only the
// leader can.
func (n *Node) Barrier(ctx context.Context) error {
	if err := wait(ctx, n.raft.Barrier(enqueueWithin)); err != nil {
		return fmt.Errorf("barrier: %w", n.readError(err))
	}
	return nil
}

// LeaderIndex is, on the leader, an index that covers every write that anybody
// can have seen before the call: a node that has applied it has seen them all.
// It costs one round trip to a majority, shared by all who ask meanwhile, and
// writes nothing.
func (n *Node) LeaderIndex(ctx context.Context) (uint64, error) {
	if !n.leads() {
		return 0, n.notLeader()
	}
	// Committed, not applied: a follower may be ahead of a leader that is slow to
	// apply, and show what the next reader must then see too.
	index, err := n.lastCommand(n.raft.CommitIndex())
	if err != nil {
		return 0, err
	}
	return index, n.verifyLeader(ctx)
}

// lastCommand is the newest entry up to a committed one that state machines
// see: waiting for one that they never get would not end.
func (n *Node) lastCommand(upTo uint64) (uint64, error) {
	applied := n.Applied()
	for ; upTo > applied; upTo-- {
		var l raft.Log
		err := n.logs.GetLog(upTo, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			break // in a snapshot, so in the state
		}
		if err != nil {
			return 0, fmt.Errorf("look for the last command: %w", err)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return upTo, nil
		}
	}
	return applied, nil
}

// verifyLeader proves that this node has led until after the call.
func (n *Node) verifyLeader(ctx context.Context) error {
	if !n.begin() {
		return ErrClosed
	}
	defer n.work.Done()
	if err := n.verify.join(ctx, n); err != nil {
		return fmt.Errorf("verify leadership: %w", n.readError(err))
	}
	if !n.leads() {
		return n.notLeader()
	}
	return nil
}

// verifier lets all who ask while one verification is under way share the next:
// each is a round of heartbeats.
type verifier struct {
	mu   sync.Mutex // guards the fields below
	next *round     // begins when the present one ends
	busy bool
}

type round struct {
	done chan struct{}
	err  error
}

func (v *verifier) join(ctx context.Context, n *Node) error {
	v.mu.Lock()
	if v.next == nil {
		v.next = &round{done: make(chan struct{})}
	}
	r := v.next
	if !v.busy {
		v.busy = true
		n.work.Add(1) // within the caller's
		go func() {
			defer n.work.Done()
			v.run(n.raft)
		}()
	}
	v.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *verifier) run(r *raft.Raft) {
	for {
		v.mu.Lock()
		now := v.next
		v.next = nil
		v.busy = now != nil
		v.mu.Unlock()
		if now == nil {
			return
		}
		now.err = r.VerifyLeader().Error()
		close(now.done)
	}
}

// Staleness is for how long this node has not heard of a leader: its state may
// be that much older than the cluster's. On the leader it is 0.
func (n *Node) Staleness() time.Duration {
	if n.leads() {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		last = n.born
	}
	return max(0, time.Since(last))
}

// Snapshot writes the state to disk now, so that the log before it can go.
func (n *Node) Snapshot(ctx context.Context) error {
	if err := wait(ctx, n.raft.Snapshot()); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}
