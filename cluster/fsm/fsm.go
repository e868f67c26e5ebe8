// Package fsm is the one state machine that raft drives. It opens envelopes,
// keeps the state's clock, hands each command to the state machine registered
// for its type, and writes and reads snapshots of them all. It knows nothing of
// what the commands mean.
package fsm

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/cluster/command"
)

// Applier is the state machine of one command type. Apply, Snapshot and Restore
// are called on one goroutine, in the order of the log.
type Applier interface {
	// Apply applies one command. It must follow from its arguments and what was
	// applied before alone. at never runs backwards. An error with a method
	// StopsNode() ends the node; any other answer goes to the proposer. The
	// payload belongs to raft: copy what is kept.
	Apply(index uint64, at time.Time, version byte, payload []byte) any
	// Snapshot captures the state as of now and returns at once. The records are
	// walked later, on another goroutine, while Apply goes on. A record of kind 0
	// reports that the state cannot be written; its data says why.
	Snapshot() iter.Seq2[byte, []byte]
	// Restore reads the records into a new state beside the present one. The
	// function it returns swaps them and cannot fail; it is called only when the
	// whole snapshot has proven good. Data is valid until the next record.
	Restore(records iter.Seq2[byte, []byte]) (swap func(), err error)
}

// Publisher is an Applier whose readers see new state at the end of a batch.
type Publisher interface{ Publish() }

// ErrUnknownType is wrapped by the error that stops a node which met a command
// of a newer release that it may not skip.
var ErrUnknownType = errors.New("command type is not known to this release")

// Config is what a state machine needs.
type Config struct {
	ClusterID string
	Appliers  map[command.Type]Applier
	Logger    *slog.Logger
}

// FSM is a raft.BatchingFSM.
type FSM struct {
	cluster  string
	appliers map[command.Type]Applier
	order    []command.Type // of sections in snapshots: the same everywhere
	log      *slog.Logger

	// Owned by the goroutine that applies.
	now time.Time

	// mu guards what others ask for.
	mu      sync.Mutex
	applied uint64
	moved   chan struct{} // closed and replaced whenever applied grows
	fatal   error
	restore error         // why the last refused snapshot was refused
	stopped chan struct{} // closed with the first fatal error
}

// New makes a state machine of the given parts.
func New(cfg Config) *FSM {
	f := &FSM{
		cluster:  cfg.ClusterID,
		appliers: cfg.Appliers,
		log:      cfg.Logger,
		moved:    make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	for t := range cfg.Appliers {
		f.order = append(f.order, t)
	}
	slices.Sort(f.order)
	return f
}

// Applied is the index of the last command whose effect readers can see, and a
// channel that is closed when there is a later one.
func (f *FSM) Applied() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied, f.moved
}

// Stopped is closed when the state machine has met what it may not pass over.
func (f *FSM) Stopped() <-chan struct{} { return f.stopped }

// Err says why the state machine has stopped, nil while it runs.
func (f *FSM) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fatal
}

// RestoreErr says why a snapshot was last refused. Raft tries older ones and
// keeps the reasons to itself.
func (f *FSM) RestoreErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restore
}

// Apply applies one entry.
func (f *FSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in order and lets readers see them at the end.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	last := uint64(0)
	for i, l := range logs {
		if err := f.Err(); err != nil {
			out[i] = err
			continue
		}
		if l.Type == raft.LogCommand {
			out[i] = f.apply(l)
		}
		if f.Err() == nil {
			last = l.Index
		}
	}
	f.publish(last)
	return out
}

func (f *FSM) apply(l *raft.Log) any {
	c, err := command.Decode(l.Data)
	if err != nil {
		// Nothing of ours proposes such bytes: somebody else wrote to this log.
		return f.Stop(fmt.Errorf("entry %d: %w", l.Index, err))
	}
	if c.At.After(f.now) {
		f.now = c.At
	}
	a, ok := f.appliers[c.Type]
	if !ok {
		if c.Type.Skippable() {
			f.log.Info("command skipped", "type", c.Type.String(), "index", l.Index)
			return nil
		}
		return f.Stop(fmt.Errorf("entry %d of %s: %w; start a newer release", l.Index, c.Type, ErrUnknownType))
	}
	answer := a.Apply(l.Index, f.now, c.Version, c.Payload)
	if err, ok := answer.(error); ok {
		var stop interface{ StopsNode() }
		if errors.As(err, &stop) {
			return f.Stop(fmt.Errorf("entry %d of %s: %w", l.Index, c.Type, err))
		}
	}
	return answer
}

// Stop ends the state machine: to go on would make this node's state differ
// from the others', or leave it useless. The log keeps the entries, so a later
// start goes on from there. It returns the reason in full.
func (f *FSM) Stop(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fatal == nil {
		f.fatal = fmt.Errorf("state machine stopped: %w", err)
		close(f.stopped)
		f.log.Error("state machine stopped", "error", err)
	}
	return f.fatal
}

// publish shows the effects of a batch, then its index: whoever waits for the
// index finds the state there.
func (f *FSM) publish(index uint64) {
	if index == 0 {
		return
	}
	for _, t := range f.order {
		if p, ok := f.appliers[t].(Publisher); ok {
			p.Publish()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = max(f.applied, index)
	close(f.moved)
	f.moved = make(chan struct{})
}

var _ raft.BatchingFSM = (*FSM)(nil)
