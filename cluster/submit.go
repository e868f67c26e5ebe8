package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
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
)

// Submit proposes a command on this node, which must lead, stamped with its
// time. It returns the applier's answer and the command's index once this node
// has applied it and readers see it. What an error proves stands with the Err
// values of this package.
func (n *Node) Submit(ctx context.Context, t command.Type, version byte, payload []byte) (any, uint64, error) {
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
	return f.Response(), f.Index(), nil
}

// Mutate proposes a change of entities and waits until it is applied here. A
// mutation without an id gets one. A conflict is no error: it is in the result.
func (n *Node) Mutate(ctx context.Context, m model.Mutation) (model.Result, error) {
	if err := state.Check(&m); err != nil {
		return model.Result{}, fmt.Errorf("mutate: %w", err)
	}
	if m.ID == "" {
		id, err := NewID()
		if err != nil {
			return model.Result{}, fmt.Errorf("mutate: make id: %w", err)
		}
		m.ID = id
	}
	if m.At.IsZero() {
		m.At = n.clock.Now() // for who reads the log; the envelope's time counts
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return model.Result{}, fmt.Errorf("mutate: %w", err)
	}
	answer, _, err := n.Submit(ctx, command.Mutation, state.MutationVersion, payload)
	if err != nil {
		return model.Result{}, err
	}
	switch a := answer.(type) {
	case model.Result:
		return a, nil
	case error:
		return model.Result{}, fmt.Errorf("mutate: %w", a)
	}
	return model.Result{}, fmt.Errorf("mutate: unexpected answer %T", answer)
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

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
