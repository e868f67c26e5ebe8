package store_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

// records reads all of a ledger's entries as they are sent.
func records(t testing.TB, l *store.Ledger, after uint64) []store.Record {
	t.Helper()
	var out []store.Record
	for r, err := range l.Records(after, l.LastSeq()) {
		require.NoError(t, err)
		out = append(out, r)
	}
	return out
}

func same(a, b store.Record) bool {
	return a.Seq == b.Seq && bytes.Equal(a.Entry, b.Entry) && bytes.Equal(a.Bodies, b.Bodies)
}

func openCalls(t testing.TB, l *store.Ledger) []store.OpenIntent {
	t.Helper()
	var out []store.OpenIntent
	require.NoError(t, l.OpenIntents(func(in store.OpenIntent) { out = append(out, in) }))
	return out
}

func openCopy(t testing.TB, cfg store.Config) *store.Copy {
	t.Helper()
	c, err := store.OpenCopy(cfg)
	require.NoError(t, err)
	return c
}

func TestACopyThatAcknowledgedABatchHasItAfterAPowerCut(t *testing.T) {
	source := open(t, store.Config{})
	for n := uint64(1); n <= 300; n++ {
		settle(t, source, n)
	}
	all := records(t, source, 0)
	for seed := uint64(1); seed <= 20; seed++ {
		rng := rand.New(rand.NewPCG(seed, 9))
		fs := vfs.NewCrashableMem()
		cfg := store.On(store.Config{Dir: t.TempDir()}, fs)
		c := openCopy(t, cfg)
		var pos uint64
		have := rng.IntN(len(all))
		for at := 0; at < have; {
			to := min(at+1+rng.IntN(20), have)
			require.NoError(t, c.Put(&store.CopyBatch{Holder: "a", After: pos, UpTo: all[to-1].Seq, Entries: all[at:to]}))
			pos, at = all[to-1].Seq, to
			if rng.IntN(5) == 0 {
				require.NoError(t, c.Ledger().CatchUp()) // somebody has asked
			}
		}
		cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		require.NoError(t, c.Close())
		c = openCopy(t, store.On(cfg, cut))
		require.Equal(t, pos, c.State().Position)
		require.True(t, slices.EqualFunc(all[:have], records(t, c.Ledger(), 0), same))
		require.NoError(t, c.Ledger().CatchUp())
		require.NoError(t, c.Close())
	}
}

func TestACopyTakesNoHoleAndNothingTwice(t *testing.T) {
	source := open(t, store.Config{})
	for n := uint64(1); n <= 10; n++ {
		settle(t, source, n)
	}
	all := records(t, source, 0)
	c := openCopy(t, store.Config{Dir: t.TempDir()})
	defer func() { require.NoError(t, c.Close()) }()
	batch := func(from, to int, floor uint64) *store.CopyBatch {
		b := &store.CopyBatch{UpTo: all[to-1].Seq, Floor: floor, Entries: all[from:to]}
		if from > 0 {
			b.After = all[from-1].Seq
		}
		return b
	}
	require.ErrorIs(t, c.Put(batch(3, 5, 0)), store.ErrGap, "a new copy begins where it is needed")
	require.NoError(t, c.Put(batch(0, 3, 0)))
	require.NoError(t, c.Put(batch(0, 5, 0)), "what overlaps is left out")
	require.NoError(t, c.Put(batch(1, 2, 0)))
	require.Equal(t, all[4].Seq, c.State().Position)
	require.ErrorIs(t, c.Put(batch(6, 8, 0)), store.ErrGap)
	require.NoError(t, c.Put(batch(6, 8, all[5].Seq)), "what lies between is needed by nobody")
	require.Equal(t, all[5].Seq, c.State().Base)
	wrong := batch(8, 10, 0)
	wrong.Entries = []store.Record{all[9], all[8]}
	require.ErrorIs(t, c.Put(wrong), store.ErrCorrupt)
	require.NoError(t, c.Trim())
	require.True(t, slices.EqualFunc(all[6:8], records(t, c.Ledger(), 0), same))
}

func TestATakenCopyChargesOpenCallsOnceAndTakesNothingMore(t *testing.T) {
	source := open(t, store.Config{})
	for n := uint64(1); n <= 3; n++ {
		_, err := source.Begin(sampleIntent(n))
		require.NoError(t, err)
	}
	calls := openCalls(t, source)
	require.Len(t, calls, 3)
	require.WithinDuration(t, t0, calls[0].At, time.Second)
	settle(t, source, 3)
	all := records(t, source, 0)
	c := openCopy(t, store.Config{Dir: t.TempDir()})
	// The third call's intent comes late: after its entry.
	require.NoError(t, c.Put(&store.CopyBatch{Holder: "a", UpTo: all[0].Seq, Entries: all}))
	require.NoError(t, c.Put(&store.CopyBatch{Holder: "a", After: all[0].Seq, UpTo: all[0].Seq, Intents: calls, Reset: true}))
	open, err := c.CountOpen()
	require.NoError(t, err)
	require.Equal(t, 3, open)
	for range 2 {
		require.NoError(t, c.Take())
		left, err := c.Left()
		require.NoError(t, err)
		require.Len(t, left, 2)
		for _, e := range left {
			require.Equal(t, store.Interrupted, e.Status)
			require.Equal(t, sampleIntent(1).Max, e.Cost.Total)
		}
	}
	require.ErrorIs(t, c.Put(&store.CopyBatch{After: all[0].Seq, UpTo: all[0].Seq}), store.ErrTaken)
	require.True(t, c.State().Taken)
	require.Equal(t, "a", c.State().Holder)
	require.NoError(t, c.Close())
}

func TestALedgerKeepsItsNameUnderEveryNodeID(t *testing.T) {
	dir := t.TempDir()
	for _, node := range []string{"first", "second"} {
		l, err := store.Open(store.Config{Dir: dir, Ballast: -1})
		require.NoError(t, err)
		name, err := l.BookID(node)
		require.NoError(t, err)
		require.Equal(t, "first", name)
		require.NoError(t, l.Close())
	}
}
