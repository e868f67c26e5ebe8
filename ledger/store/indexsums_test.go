package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

func keyedEntry(n uint64, keys int) *store.Entry {
	e := sampleEntry(n)
	e.CallID, e.Key, e.RequestID = callID(n), fmt.Sprintf("key-%d", n%uint64(keys)), ""
	e.Charges = []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: e.Key}, Window: 7}}
	e.Cost.Total = unit.Dollar / 1000
	return e
}

// Whatever of the sums is forgotten between passes, as by a restart or by the
// bound, the sums come out the same.
func TestSumsAreTheSameWhetherTheyWereRememberedOrReadAgain(t *testing.T) {
	const keys, calls = 7, 400
	for name, tc := range map[string]struct {
		rollups, amounts int
		forget           bool
	}{"remembered": {1000, 1000, false}, "half forgotten": {4, 9, false}, "read again": {1000, 1000, true}} {
		t.Run(name, func(t *testing.T) {
			l := open(t, store.Config{})
			l.BoundSums(tc.rollups, tc.amounts)
			want := map[string]int64{}
			for n := uint64(1); n <= calls; n++ {
				e := keyedEntry(n, keys)
				want[e.Key]++
				_, err := l.Settle(store.Ref{}, e)
				require.NoError(t, err)
				if n%5 == 0 {
					require.NoError(t, l.CatchUp())
				}
				if tc.forget {
					l.ForgetSums()
				}
			}
			require.NoError(t, l.CatchUp())
			got, spent := map[string]int64{}, map[string]int64{}
			for k, s := range l.Rollups(store.ByCaller, 0, 1<<20) {
				got[k.Key] += s.Requests
			}
			require.Equal(t, want, got)
			settled, err := l.Settled(l.Incarnation())
			require.NoError(t, err)
			for _, s := range settled {
				spent[s.Scope.ID] = int64(s.Sum / (unit.Dollar / 1000))
			}
			require.Equal(t, want, spent)
		})
	}
}

// What the budgets have closed must not come back with a late call.
func TestSumsThatWereDroppedStartAnewWithALateCall(t *testing.T) {
	dir := t.TempDir()
	first, err := store.Open(store.Config{Dir: dir, Ballast: -1})
	require.NoError(t, err)
	old := first.Incarnation()
	require.NoError(t, first.Close())

	l := open(t, store.Config{Dir: dir})
	late := func(n uint64) {
		e := keyedEntry(n, 1)
		e.Incarnation = old
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
		require.NoError(t, l.CatchUp())
	}
	late(1)
	require.NoError(t, l.DropSettled(old))
	late(2)
	settled, err := l.Settled(old)
	require.NoError(t, err)
	require.Len(t, settled, 1)
	require.Equal(t, unit.Dollar/1000, settled[0].Sum)
}

// BenchmarkIndexOfManyKeys indexes calls of keys that each come seldom.
func BenchmarkIndexOfManyKeys(b *testing.B) {
	const keys, each = 20_000, 1000
	l := open(b, store.Config{})
	n := uint64(0)
	fill := func(calls int) {
		for range calls {
			n++
			_, err := l.Settle(store.Ref{}, keyedEntry(n, keys))
			require.NoError(b, err)
		}
	}
	fill(keys)
	require.NoError(b, l.CatchUp())
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		fill(each)
		begin := cpuNow()
		b.StartTimer()
		require.NoError(b, l.CatchUp())
		used += cpuNow() - begin
	}
	b.ReportMetric(float64(used)/float64(b.N)/each, "cpu-ns/call")
}
