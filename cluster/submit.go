package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/state"
)

const (
	// enqueueWithin bounds how long a command waits to be taken by the leader's
	// loop when the caller sets no deadline.
	enqueueWithin = 5 * time.Second

	// maxCommand bounds a command. One entry is one message between nodes, and
	// heartbeats must not wait behind it for long.
	maxCommand = 16 << 20

	// holdFor is how long a command waits for a leader: an election takes less,
	// and a caller is better served late than told to come again.
	holdFor = 5 * time.Second

	// resolveFor is how long a repeatable command is repeated to learn its outcome.
	resolveFor = 10 * time.Second

	// attemptFor bounds one attempt at a leader that may be frozen or cut off.
	attemptFor = 3 * time.Second

	// seenWithin bounds the wait for this node to apply what the leader applied.
	seenWithin = 5 * time.Second
)

// Submit proposes a command, on the leader wherever it is, stamped with the
// leader's time. It returns the applier's answer and the command's index once
// this node has applied it and readers here see it. What an error proves stands
// with the Err values of this package; with ErrLagging there is an answer too.
func (n *Node) Submit(ctx context.Context, t command.Type, version byte, payload []byte) (any, uint64, error) {
	start := time.Now()
	var unknown error // of an attempt that may have done it
	for {
		answer, index, err := n.attempt(ctx, t, version, payload)
		if err == nil {
			return answer, index, nil
		}
		within := holdFor
		switch {
		case errors.Is(err, ErrLagging):
			return answer, index, err
		case errors.Is(err, ErrOutcomeUnknown):
			if !n.answers[t].Repeatable || n.fsm.Err() != nil {
				return nil, 0, err
			}
			unknown, within = err, resolveFor
		case unknown != nil:
			// This attempt did nothing, but an earlier one may have.
			err, within = unknown, resolveFor
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoQuorum):
			return nil, 0, err
		}
		if n.cfg.Calls == nil || ctx.Err() != nil || n.isClosed() || time.Since(start) > within {
			return nil, 0, err
		}
		// Uneven, so that many who wait do not all come at once.
		pause(ctx, 20*time.Millisecond+rand.N(40*time.Millisecond))
		if ctx.Err() != nil {
			return nil, 0, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// attempt proposes here when this node leads, else at the leader it knows.
func (n *Node) attempt(ctx context.Context, t command.Type, version byte, payload []byte) (any, uint64, error) {
	answer, index, err := n.propose(ctx, t, version, payload)
	var other *NotLeaderError
	if n.cfg.Calls == nil || !errors.As(err, &other) {
		return answer, index, err
	}
	codec, ok := n.answers[t]
	if !ok {
		return nil, 0, fmt.Errorf("submit %s: %w", t, err)
	}
	within := resolveFor
	if codec.Repeatable {
		within = attemptFor
	}
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answer, index, err = n.forward(asking, other.LeaderID, t, version, payload)
	n.counts.forwarded(err)
	if err != nil {
		return nil, 0, fmt.Errorf("submit %s: %w", t, err)
	}
	if codec.Ahead {
		return answer, index, nil
	}
	return answer, index, n.seen(ctx, t, index)
}

// seen waits until this node has applied what the leader has. When it cannot in
// time the command stands all the same.
func (n *Node) seen(ctx context.Context, t command.Type, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	if err := n.WaitApplied(ctx, index); err != nil {
		return fmt.Errorf("submit %s: %w", t, &laggingError{index: index, err: err})
	}
	return nil
}

// propose submits a command on this node, which must lead.
func (n *Node) propose(ctx context.Context, t command.Type, version byte, payload []byte) (any, uint64, error) {
	if len(payload) > maxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(payload), maxCommand)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("submit %s: %w", t, err)
	}
	if n.isClosed() {
		return nil, 0, ErrClosed
	}
	if err := n.fsm.Err(); err != nil {
		return nil, 0, err
	}
	if n.raft.State() != raft.Leader {
		return nil, 0, n.notLeader()
	}
	c := command.Command{Type: t, Version: version, At: n.clock.Now(), Payload: payload}
	within := enqueueWithin
	if d, ok := ctx.Deadline(); ok {
		within = max(time.Until(d), time.Millisecond)
	}
	f := n.raft.Apply(c.Encode(), within)
	if err := wait(ctx, f); err != nil {
		return nil, 0, fmt.Errorf("submit %s: %w", t, n.submitError(err))
	}
	if err := n.fsm.Err(); err != nil {
		return nil, 0, fmt.Errorf("submit %s: %w: %w", t, ErrOutcomeUnknown, err)
	}
	n.told.committed(f.Index())
	return f.Response(), f.Index(), nil
}

// Mutate proposes a change of entities and waits until it is applied here. A
// mutation without an id gets one. A conflict is no error: it is in the result.
// With ErrLagging the result stands too.
func (n *Node) Mutate(ctx context.Context, m model.Mutation) (model.Result, error) {
	if err := state.Check(&m); err != nil {
		return model.Result{}, fmt.Errorf("mutate: %w", err)
	}
	if m.ID == "" {
		id, err := NewID()
		if err != nil {
			return model.Result{}, fmt.Errorf("mutate: make id: %w", err)
		}
		m.ID = id // what makes repeating it safe
	}
	if m.At.IsZero() {
		m.At = n.clock.Now() // for who reads the log; the envelope's time counts
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return model.Result{}, fmt.Errorf("mutate: %w", err)
	}
	answer, _, err := n.Submit(ctx, command.Mutation, state.MutationVersion, payload)
	if err != nil && !errors.Is(err, ErrLagging) {
		return model.Result{}, err
	}
	switch a := answer.(type) {
	case model.Result:
		return a, err
	case error:
		return model.Result{}, fmt.Errorf("mutate: %w", a)
	}
	return model.Result{}, fmt.Errorf("mutate: unexpected answer %T", answer)
}

// SubmitMembership proposes a change of who belongs to the cluster. A refusal
// is no error: it is in the result. With ErrLagging the result stands too.
func (n *Node) SubmitMembership(ctx context.Context, c *members.Command) (members.Result, error) {
	answer, _, err := n.Submit(ctx, command.Membership, members.Version, c.Encode())
	if err != nil {
		err = fmt.Errorf("change membership: %w", err)
		if !errors.Is(err, ErrLagging) {
			return members.Result{}, err
		}
	}
	r, ok := answer.(members.Result)
	if !ok {
		return members.Result{}, fmt.Errorf("change membership: unexpected answer %T", answer)
	}
	return r, err
}

// wait waits for raft's answer or the end of ctx. Raft always answers, at the
// latest when it is shut down, so the goroutine ends too.
func wait(ctx context.Context, f raft.Future) error {
	if ctx.Done() == nil {
		return f.Error()
	}
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
