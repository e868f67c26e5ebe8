package members

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// fromNewer stops a node that met a form of a newer release: to pass over it
// would make this node's members differ from the others'.
type fromNewer struct{ error }

func (fromNewer) StopsNode() {}

// Applier is the state machine of Membership commands. Apply, Publish, Snapshot
// and Restore belong to the goroutine that applies; the rest is for anybody.
type Applier struct {
	// Owned by the goroutine that applies.
	work   *State
	shared bool // work has been published or captured: copy before writing
	dirty  bool // work is newer than what is published

	published atomic.Pointer[State]

	mu        sync.Mutex // guards listeners
	listeners []func(old, new *State)
}

// NewApplier makes the state machine of a cluster that has no members yet.
func NewApplier() *Applier {
	a := &Applier{work: newState(), shared: true}
	a.published.Store(a.work)
	return a
}

// State is the membership as last published.
func (a *Applier) State() *State { return a.published.Load() }

// OnChange has fn called with each newly published state, on the goroutine that
// applies: fn must be quick and must not wait for anything applied later.
func (a *Applier) OnChange(fn func(old, new *State)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = append(a.listeners, fn)
}

// Decode reads the payload of a command.
func Decode(payload []byte) (*Command, error) {
	c := &Command{}
	if err := json.Unmarshal(payload, c); err != nil {
		return nil, fmt.Errorf("read membership command: %w", err)
	}
	return c, nil
}

// Apply applies one command. The answer is a Result, or an error that stops the
// node.
func (a *Applier) Apply(index uint64, at time.Time, version byte, payload []byte) any {
	if version != Version {
		return fromNewer{fmt.Errorf("membership version %d is of a newer release", version)}
	}
	c, err := Decode(payload)
	if err != nil {
		return refuse(CodeBadCommand, "%v", err).at(index)
	}
	do := operationOf(c.Op)
	if do == nil {
		return fromNewer{fmt.Errorf("membership operation %q is of a newer release", c.Op)}
	}
	if a.shared {
		a.work, a.shared = a.work.clone(), false
	}
	a.work.At = at.UTC()
	a.work.pruneTokens()
	a.dirty = true
	return do(a.work, c).at(index)
}

// operation changes the state, or refuses and leaves it as it is.
type operation func(s *State, c *Command) Result

// operationOf is nil for what this release does not know.
func operationOf(op Op) operation {
	switch op {
	case OpFound:
		return (*State).found
	case OpAdmit:
		return (*State).admit
	case OpStart:
		return (*State).start
	case OpRenew:
		return (*State).renew
	case OpRemove:
		return (*State).remove
	case OpToken:
		return (*State).addToken
	case OpRevoke:
		return (*State).revokeToken
	case OpKeyInstall:
		return (*State).installKey
	case OpKeyUse:
		return (*State).useKey
	case OpKeyRemove:
		return (*State).removeKey
	case OpReseal:
		return (*State).reseal
	case OpFeature:
		return (*State).raiseFeature
	}
	return nil
}

// Known reports whether this release can apply the operation.
func (o Op) Known() bool { return operationOf(o) != nil }

// Publish shows the effects of a batch to readers.
func (a *Applier) Publish() {
	if !a.dirty {
		return
	}
	a.dirty, a.shared = false, true
	old := a.published.Swap(a.work)
	a.mu.Lock()
	listeners := slices.Clone(a.listeners)
	a.mu.Unlock()
	for _, fn := range listeners {
		fn(old, a.work)
	}
}

// Recover makes the state of a cluster that is rebuilt by the nodes kept, after
// a majority was lost: a new generation, the others taken out, no invitation
// left open. It is for a node that is not running.
func (a *Applier) Recover(keep map[string]bool) {
	s := a.work.clone()
	s.Generation++
	for _, n := range s.Nodes() {
		if !keep[n.ID] {
			s.takeOut(n.ID, "not among the nodes that the cluster was recovered with")
		}
	}
	s.tokens = map[string]*Token{}
	a.work, a.shared, a.dirty = s, false, true
	a.Publish()
}

// Kinds of records in snapshots.
const (
	recordHead    byte = 1
	recordNode    byte = 2
	recordToken   byte = 3
	recordKey     byte = 4
	recordRemoval byte = 5
)

// head is the one record that is always there.
type head struct {
	Generation uint64    `json:"generation"`
	Feature    uint32    `json:"feature,omitempty"`
	Primary    string    `json:"primary,omitempty"`
	CA         *CA       `json:"ca,omitempty"`
	At         time.Time `json:"at,omitzero"`
}

// Snapshot captures the state as it stands.
func (a *Applier) Snapshot() iter.Seq2[byte, []byte] {
	a.shared = true
	s := a.work
	return func(yield func(byte, []byte) bool) {
		more := func(kind byte, record any) bool {
			data, err := json.Marshal(record)
			if err != nil {
				yield(0, []byte(err.Error()))
				return false
			}
			return yield(kind, data)
		}
		if !more(recordHead, head{s.Generation, s.Feature, s.Primary, s.CA, s.At}) {
			return
		}
		for _, n := range s.Nodes() {
			if !more(recordNode, n) {
				return
			}
		}
		for _, t := range sorted(s.tokens, func(t *Token) string { return t.ID }) {
			if !more(recordToken, t) {
				return
			}
		}
		for _, k := range s.Keys {
			if !more(recordKey, k) {
				return
			}
		}
		for _, r := range s.removed {
			if !more(recordRemoval, r) {
				return
			}
		}
	}
}

// Restore reads a state beside the present one.
func (a *Applier) Restore(records iter.Seq2[byte, []byte]) (swap func(), err error) {
	s := newState()
	for kind, data := range records {
		switch kind {
		case recordHead:
			var h head
			err = json.Unmarshal(data, &h)
			s.Generation, s.Feature, s.Primary, s.CA, s.At = h.Generation, h.Feature, h.Primary, h.CA, h.At
		case recordNode:
			n := &Node{}
			err = json.Unmarshal(data, n)
			s.nodes[n.ID] = n
		case recordToken:
			t := &Token{}
			err = json.Unmarshal(data, t)
			s.tokens[t.ID] = t
		case recordKey:
			var k GossipKey
			err = json.Unmarshal(data, &k)
			s.Keys = append(s.Keys, k)
		case recordRemoval:
			var r Removal
			err = json.Unmarshal(data, &r)
			s.removed = append(s.removed, r)
		default:
			err = errors.New("the kind is not known to this release")
		}
		if err != nil {
			return nil, fmt.Errorf("restore members: record of kind %d: %w", kind, err)
		}
	}
	return func() { a.work, a.shared, a.dirty = s, false, true }, nil
}
