package fsm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/config/model"
	"tollgate/config/state"
)

// counter is the smallest state machine: it sums payload lengths.
type counter struct {
	sum       int
	last      time.Time
	published int
	fail      error // what Apply answers with
}

func (c *counter) Apply(_ uint64, at time.Time, _ byte, payload []byte) any {
	if c.fail != nil {
		return c.fail
	}
	c.sum += len(payload)
	c.last = at
	return c.sum
}

func (c *counter) Snapshot() iter.Seq2[byte, []byte] {
	v := fmt.Sprint(c.sum)
	return func(yield func(byte, []byte) bool) {
		for i := range v {
			if !yield(7, []byte(v[i:i+1])) {
				return
			}
		}
	}
}

func (c *counter) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	n := 0
	for kind, data := range records {
		if kind != 7 || len(data) != 1 {
			return nil, fmt.Errorf("kind %d", kind)
		}
		n = n*10 + int(data[0]-'0')
	}
	return func() { c.sum = n }, nil
}

func (c *counter) Publish() { c.published = c.sum }

type house struct {
	*fsm.FSM
	entities *state.Applier
	store    *state.Store
	bank     *counter
}

func newHouse() *house {
	store := state.NewStore(nil)
	h := &house{entities: state.NewApplier(store), store: store, bank: &counter{}}
	h.FSM = fsm.New(fsm.Config{ClusterID: "c1", Appliers: map[command.Type]fsm.Applier{
		command.Mutation: h.entities, command.BudgetBatch: h.bank,
	}})
	return h
}

func entry(index uint64, kind command.Type, at time.Time, payload string) *raft.Log {
	c := command.Command{Type: kind, Version: 1, At: at, Payload: []byte(payload)}
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: c.Encode()}
}

func putKey(hash string) string {
	b, _ := json.Marshal(model.Mutation{ID: hash, Changes: []model.Change{model.Put(model.Keys, &model.Key{Hash: hash}, nil)}})
	return string(b)
}

type sink struct {
	bytes.Buffer
	cancelled bool
}

func (*sink) ID() string      { return "s" }
func (*sink) Close() error    { return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

func snapshot(t require.TestingT, f *fsm.FSM) []byte {
	snap, err := f.Snapshot()
	require.NoError(t, err)
	var s sink
	require.NoError(t, snap.Persist(&s))
	snap.Release()
	return s.Bytes()
}

func restore(f *fsm.FSM, data []byte) error { return f.Restore(io.NopCloser(bytes.NewReader(data))) }

var noon = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)

func TestSameLogGivesTheSameSnapshotBytesBatchedOrNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, batched := newHouse(), newHouse()
		var batch []*raft.Log
		flush := func() {
			if len(batch) > 0 {
				batched.ApplyBatch(batch)
				batch = nil
			}
		}
		at := noon
		for i := range uint64(rapid.IntRange(1, 60).Draw(t, "entries")) {
			at = at.Add(time.Duration(rapid.Int64Range(-1e9, 3e9).Draw(t, "later")))
			var l *raft.Log
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				l = entry(i+1, command.BudgetBatch, at, rapid.StringN(0, 9, 9).Draw(t, "batch"))
			case 1:
				l = entry(i+1, command.Skippable|50, at, "?")
			case 2:
				l = &raft.Log{Index: i + 1, Type: raft.LogConfiguration, Data: []byte("not ours")}
			default:
				l = entry(i+1, command.Mutation, at, putKey(rapid.StringMatching("[a-d]").Draw(t, "key")))
			}
			one.Apply(l)
			batch = append(batch, l)
			if rapid.Bool().Draw(t, "end of batch") {
				flush()
			}
		}
		flush()
		require.NoError(t, one.Err())
		first := snapshot(t, one.FSM)
		require.Equal(t, first, snapshot(t, batched.FSM))

		restored := newHouse()
		require.NoError(t, restore(restored.FSM, first))
		require.Equal(t, first, snapshot(t, restored.FSM))
		require.Equal(t, one.bank.sum, restored.bank.published)
		require.Equal(t, one.store.State().Keys.IDs(), restored.store.State().Keys.IDs())
		a, _ := one.Applied()
		b, _ := restored.Applied()
		require.Equal(t, a, b)
	})
}

func TestReadersSeeABatchBeforeItsIndex(t *testing.T) {
	h := newHouse()
	_, moved := h.Applied()
	h.ApplyBatch([]*raft.Log{entry(3, command.Mutation, noon, putKey("a")), entry(4, command.BudgetBatch, noon, "xyz")})
	<-moved
	index, _ := h.Applied()
	require.Equal(t, uint64(4), index)
	require.Equal(t, 1, h.store.State().Keys.Len())
	require.Equal(t, 3, h.bank.published)
}

func TestStateClockNeverRunsBackwards(t *testing.T) {
	h := newHouse()
	h.Apply(entry(1, command.BudgetBatch, noon, ""))
	h.Apply(entry(2, command.BudgetBatch, noon.Add(-time.Hour), ""))
	require.Equal(t, noon, h.bank.last)
	twin := newHouse()
	require.NoError(t, restore(twin.FSM, snapshot(t, h.FSM)))
	twin.Apply(entry(3, command.BudgetBatch, noon.Add(-time.Hour), ""))
	require.Equal(t, noon, twin.bank.last, "nor after a restart")
}

type newer struct{ error }

func (newer) StopsNode() {}

func TestWhatMayNotBePassedOverStopsTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		log   *raft.Log
		setup func(*house)
	}{
		"unknown type":    {log: entry(2, 40, noon, "x")},
		"short entry":     {log: &raft.Log{Index: 2, Type: raft.LogCommand, Data: []byte("?")}},
		"applier says so": {log: entry(2, command.BudgetBatch, noon, "x"), setup: func(h *house) { h.bank.fail = fmt.Errorf("wrapped: %w", newer{errors.New("new")}) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse()
			h.Apply(entry(1, command.Mutation, noon, putKey("a")))
			if c.setup != nil {
				c.setup(h)
			}
			out := h.ApplyBatch([]*raft.Log{c.log, entry(3, command.Mutation, noon, putKey("b"))})
			<-h.Stopped()
			require.Error(t, h.Err())
			require.Error(t, out[0].(error))
			require.Error(t, out[1].(error), "nothing after it is applied")
			require.Equal(t, []string{"a"}, h.store.State().Keys.IDs())
			index, _ := h.Applied()
			require.Equal(t, uint64(1), index)
			_, err := h.Snapshot()
			require.Error(t, err, "a snapshot would lose the entry")
		})
	}
}

func TestOrdinaryErrorsAreAnswersNotStops(t *testing.T) {
	h := newHouse()
	h.bank.fail = errors.New("no such budget")
	require.Equal(t, h.bank.fail, h.Apply(entry(1, command.BudgetBatch, noon, "x")))
	require.NoError(t, h.Err())
}

func TestDamagedSnapshotChangesNothing(t *testing.T) {
	source := newHouse()
	for i := range uint64(50) {
		source.Apply(entry(i+1, command.Mutation, noon, putKey(fmt.Sprintf("key-%d-%d", i, i*i*7919))))
	}
	source.Apply(entry(60, command.BudgetBatch, noon, "some"))
	good := snapshot(t, source.FSM)
	rapid.Check(t, func(t *rapid.T) {
		h := newHouse()
		h.Apply(entry(1, command.Mutation, noon, putKey("mine")))
		bad := bytes.Clone(good)
		if rapid.Bool().Draw(t, "cut") {
			bad = bad[:rapid.IntRange(0, len(bad)-1).Draw(t, "length")]
		} else {
			// gzip's header holds bytes without meaning (time, system): leave them.
			bad[rapid.IntRange(10, len(bad)-1).Draw(t, "at")] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		}
		require.Error(t, restore(h.FSM, bad))
		require.Equal(t, []string{"mine"}, h.entities.Applied().Keys.IDs())
		_, _, err := fsm.Verify(bytes.NewReader(bad))
		require.Error(t, err)
	})
	head, records, err := fsm.Verify(bytes.NewReader(good))
	require.NoError(t, err)
	require.Equal(t, "c1", head.ClusterID)
	require.Equal(t, uint64(60), head.Index)
	require.Equal(t, uint64(1+50+50+1), records, "clock, keys, remembered results, the bank's digit")
}

func TestSnapshotOfAnotherClusterIsRefused(t *testing.T) {
	h := newHouse()
	other := fsm.New(fsm.Config{ClusterID: "c2", Appliers: map[command.Type]fsm.Applier{command.BudgetBatch: &counter{}}})
	other.Apply(entry(1, command.BudgetBatch, noon, "x"))
	require.ErrorIs(t, restore(h.FSM, snapshot(t, other)), fsm.ErrOtherCluster)
}

func TestSnapshotOfANewerReleaseIsRefusedUnlessItsPartsMayBeSkipped(t *testing.T) {
	with := func(extra command.Type) []byte {
		f := fsm.New(fsm.Config{ClusterID: "c1", Appliers: map[command.Type]fsm.Applier{command.BudgetBatch: &counter{}, extra: &counter{}}})
		f.Apply(entry(1, command.BudgetBatch, noon, "xyz"))
		f.Apply(entry(2, extra, noon, "xy"))
		return snapshot(t, f)
	}
	require.ErrorIs(t, restore(newHouse().FSM, with(60)), fsm.ErrUnknownType)
	h := newHouse()
	require.NoError(t, restore(h.FSM, with(command.Skippable|60)))
	require.Equal(t, 3, h.bank.sum)
}

type unwritable struct{ counter }

func (*unwritable) Snapshot() iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) { yield(0, []byte("cannot encode")) }
}

func TestUnwritableStateCancelsTheSnapshot(t *testing.T) {
	f := fsm.New(fsm.Config{Appliers: map[command.Type]fsm.Applier{command.BudgetBatch: &unwritable{}}})
	f.Apply(entry(1, command.BudgetBatch, noon, ""))
	snap, err := f.Snapshot()
	require.NoError(t, err)
	var s sink
	require.ErrorContains(t, snap.Persist(&s), "cannot encode")
	require.True(t, s.cancelled)
}

func FuzzRestore(f *testing.F) {
	h := newHouse()
	h.Apply(entry(1, command.Mutation, noon, putKey("a")))
	f.Add(snapshot(f, h.FSM))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		twin := newHouse()
		if restore(twin.FSM, data) == nil {
			snapshot(t, twin.FSM)
		}
		_, _, _ = fsm.Verify(bytes.NewReader(data))
	})
}

var update = flag.Bool("update", false, "rewrite the golden files")

// Snapshots of past releases stay readable: they are what an upgraded node
// starts from.
func TestGoldenSnapshotRestores(t *testing.T) {
	path := filepath.Join("testdata", "snapshot-v1.golden")
	if *update {
		h := newHouse()
		h.Apply(entry(1, command.Mutation, noon, putKey("a")))
		h.Apply(entry(2, command.BudgetBatch, noon, "xyz"))
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, snapshot(t, h.FSM), 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	h := newHouse()
	require.NoError(t, restore(h.FSM, golden))
	require.Equal(t, []string{"a"}, h.store.State().Keys.IDs())
	require.Equal(t, 3, h.bank.sum)
	index, _ := h.Applied()
	require.Equal(t, uint64(2), index)
	require.Equal(t, noon, h.store.State().Now)
}
