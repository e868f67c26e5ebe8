package state

import (
	"errors"
	"fmt"
	"iter"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"tollgate/config/model"
)

// MutationVersion is the payload version that Applier reads and proposers write.
const MutationVersion = 1

// What is remembered of past mutations, so that a repeated one answers as the
// first time did.
const (
	rememberCount = 10_000
	rememberFor   = 24 * time.Hour
)

var (
	// ErrMutation is the answer to a mutation that no node can apply: its bytes
	// or an entity in it are not what they say. Nothing was changed.
	ErrMutation = errors.New("mutation cannot be applied")

	errUnknownTable = errors.New("unknown table")
)

// Unreadable is the answer to a command that this release does not understand
// but a newer one would apply. Skipping it would let this node's state drift
// from the others', so the node has to stop.
type Unreadable struct{ Reason string }

// Error says what was not understood.
func (u *Unreadable) Error() string { return "command of a newer release: " + u.Reason }

// StopsNode marks the error as one that must end the node.
func (u *Unreadable) StopsNode() {}

// remembered is the result of one past mutation.
type remembered struct {
	ID     string       `json:"id"`
	At     int64        `json:"at"` // nanoseconds
	Result model.Result `json:"result"`
}

// Applier is the state machine of the replicated entities. Everything it does
// follows from the commands alone: no clock, no randomness, no order of maps.
// All methods but Snapshot's iterator belong to the goroutine that applies.
type Applier struct {
	store   *Store
	current *Snapshot // with all that was applied, published or not
	past    []remembered
	byID    map[string]model.Result
	changed []func(Applied)
}

// Applied is a mutation that has just been applied.
type Applied struct {
	Index     uint64
	At        time.Time
	By, ByKey string // who asked for it, and the hash of the key that was used
	Old, New  *Snapshot
	Changes   []model.Change
}

// NewApplier applies onto what store holds.
func NewApplier(store *Store) *Applier {
	return &Applier{store: store, current: store.State(), byID: map[string]model.Result{}}
}

// OnChange adds a function that hears of every applied mutation, in order, on
// the applying goroutine, before the next command is applied. It may keep
// state that must be the same on all nodes, so it must not look at Routing,
// which depends on the node and follows later.
func (a *Applier) OnChange(f func(Applied)) {
	a.changed = append(a.changed, f)
}

// Applied is the state after the last applied command, also within a batch
// whose end has not been published. Other state machines resolve against it.
func (a *Applier) Applied() *Snapshot { return a.current }

// Apply applies one mutation. The answer is a model.Result; or an error wrapping
// ErrMutation; or *Unreadable.
func (a *Applier) Apply(index uint64, at time.Time, version byte, payload []byte) any {
	if version != MutationVersion {
		return &Unreadable{fmt.Sprintf("mutation version %d", version)}
	}
	var m model.Mutation
	if err := jsonv2.Unmarshal(payload, &m, lenient); err != nil {
		return fmt.Errorf("%w: %w", ErrMutation, err)
	}
	if r, ok := a.byID[m.ID]; ok && m.ID != "" {
		return r
	}
	now := a.current.Now
	if at.After(now) {
		now = at.UTC().Round(0)
	}
	todo, err := decodeChanges(m.Changes)
	if err != nil {
		return err
	}
	result := model.Result{Index: index}
	if result.Conflict = a.refused(m.Changes); result.Conflict == nil {
		a.commit(index, now, todo, &m)
		result.Sealed = m.Sealed
	} else {
		// The clock goes on: it decides how long results are remembered.
		next := *a.current
		next.Now = now
		a.current = &next
	}
	a.remember(m.ID, now, result)
	return result
}

// change is a decoded model.Change; entity nil deletes.
type change struct {
	kind   kind
	id     string
	entity model.Entity
}

func decodeChanges(changes []model.Change) ([]change, error) {
	todo := make([]change, len(changes))
	for i, c := range changes {
		k, ok := kindOfTable(c.Table)
		if !ok {
			return nil, &Unreadable{fmt.Sprintf("table %q", c.Table)}
		}
		todo[i] = change{kind: k, id: c.ID}
		if deletes(c) {
			continue
		}
		e, err := k.decode(c.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMutation, err)
		}
		if e.EntityID() != c.ID || c.ID == "" {
			return nil, fmt.Errorf("%w: %s %q holds the id %q", ErrMutation, c.Table, c.ID, e.EntityID())
		}
		todo[i].entity = e
	}
	return todo, nil
}

func deletes(c model.Change) bool { return len(c.Value) == 0 || string(c.Value) == "null" }

// refused is the first change whose expectation the state does not meet. All
// are held against the state before the mutation.
func (a *Applier) refused(changes []model.Change) *model.Refused {
	for _, c := range changes {
		if c.Expect == nil {
			continue
		}
		k, _ := kindOfTable(c.Table)
		have, ok := k.version(a.current, c.ID)
		if ok != (*c.Expect != 0) || have != *c.Expect {
			return &model.Refused{Table: c.Table, ID: c.ID, Have: have}
		}
	}
	return nil
}

func (a *Applier) commit(index uint64, now time.Time, todo []change, m *model.Mutation) {
	b, changes := NewBuilder(a.current), m.Changes
	configs := false
	for _, c := range todo {
		if c.entity == nil {
			c.kind.delete(b, c.id)
			continue
		}
		c.kind.stamp(c.entity, a.current, index)
		c.kind.put(b, c.entity)
		configs = configs || c.kind.table() == model.Configs
	}
	if configs {
		for _, id := range b.prune() {
			changes = append(changes[:len(changes):len(changes)], model.Delete(model.Configs, id, nil))
		}
	}
	b.next.Index, b.next.Now = index, now
	done := Applied{Index: index, At: now, By: m.By, ByKey: m.ByKey, Old: a.current, New: b.Snapshot(), Changes: changes}
	a.current = done.New
	for _, f := range a.changed {
		f(done)
	}
}

func (a *Applier) remember(id string, now time.Time, r model.Result) {
	if id != "" {
		a.past = append(a.past, remembered{id, now.UnixNano(), r})
		a.byID[id] = r
	}
	oldest := now.Add(-rememberFor).UnixNano()
	for len(a.past) > 0 && (len(a.past) > rememberCount || a.past[0].At < oldest) {
		delete(a.byID, a.past[0].ID)
		a.past = a.past[1:]
	}
}

// Publish shows readers everything applied so far. It is called once a batch.
func (a *Applier) Publish() {
	if a.current != a.store.State() {
		a.current = a.store.Publish(a.current)
	}
}

// Check refuses what Apply would refuse or stop at, before it is proposed: a
// faulty mutation must never reach the log.
func Check(m *model.Mutation) error {
	for _, c := range m.Changes {
		if _, ok := kindOfTable(c.Table); !ok {
			return fmt.Errorf("%w: %w %q", ErrMutation, errUnknownTable, c.Table)
		}
	}
	_, err := decodeChanges(m.Changes)
	return err
}

// stateRecord and pastRecord are the records that are no entity.
const (
	stateRecord byte = 1
	pastRecord  byte = 10
)

type stateHead struct {
	Index uint64 `json:"index"`
	Now   int64  `json:"now"` // nanoseconds; 0 before the first mutation
}

// Snapshot captures the state as of now. The records may be walked later and on
// another goroutine while more is applied; the same state always gives the same
// records. An encoding fault is reported by a record of kind 0.
func (a *Applier) Snapshot() iter.Seq2[byte, []byte] {
	s := a.current
	past := a.past // only ever appended to and cut at the front: what we see stays
	return func(yield func(byte, []byte) bool) {
		head := stateHead{Index: s.Index}
		if !s.Now.IsZero() {
			head.Now = s.Now.UnixNano()
		}
		emit := func(rec byte, v any) bool {
			data, err := jsonv2.Marshal(v)
			if err != nil {
				yield(0, []byte(err.Error()))
				return false
			}
			return yield(rec, data)
		}
		if !emit(stateRecord, head) {
			return
		}
		for _, k := range kinds {
			if !k.records(s, yield, func(err error) { yield(0, []byte(err.Error())) }) {
				return
			}
		}
		for i := range past {
			if !emit(pastRecord, &past[i]) {
				return
			}
		}
	}
}

// Restore reads the records of Snapshot into a new state beside the present
// one; the returned function swaps them. Publish then shows it.
func (a *Applier) Restore(records iter.Seq2[byte, []byte]) (swap func(), err error) {
	b := NewBuilder(nil)
	var past []remembered
	byID := map[string]model.Result{}
	for rec, data := range records {
		switch rec {
		case stateRecord:
			var head stateHead
			if err := jsonv2.Unmarshal(data, &head, lenient); err != nil {
				return nil, fmt.Errorf("restore state: %w", err)
			}
			b.next.Index = head.Index
			if head.Now != 0 {
				b.next.Now = time.Unix(0, head.Now).UTC()
			}
		case pastRecord:
			var r remembered
			if err := jsonv2.Unmarshal(data, &r, lenient); err != nil {
				return nil, fmt.Errorf("restore remembered result: %w", err)
			}
			past = append(past, r)
			byID[r.ID] = r.Result
		default:
			k, ok := kindOfRecord(rec)
			if !ok {
				return nil, fmt.Errorf("restore state: record kind %d is not known to this release", rec)
			}
			e, err := k.decode(data)
			if err != nil {
				return nil, fmt.Errorf("restore state: %w", err)
			}
			k.put(b, e)
		}
	}
	s := b.Snapshot()
	return func() { a.current, a.past, a.byID = s, past, byID }, nil
}
