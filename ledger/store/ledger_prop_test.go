package store_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// callModel is what a ledger should hold, kept in the simplest way.
type callModel struct {
	open    map[uint64]unit.Money // begun and not settled, with its maximum
	booked  map[uint64]unit.Money // by call
	windows map[string]unit.Money // by key and incarnation
}

// TestWhateverHappensEveryCallIsBookedOnceAndSumsAgree drives a ledger and a
// model through begins, settlements, repeats, aborts, index passes and restarts.
func TestWhateverHappensEveryCallIsBookedOnceAndSumsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ledger")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		inc := uint64(1)
		start := func() *store.Ledger {
			l, err := store.Open(store.Config{Dir: dir, Incarnation: inc, Ballast: -1})
			require.NoError(t, err)
			return l
		}
		l := start()
		m := callModel{map[uint64]unit.Money{}, map[uint64]unit.Money{}, map[string]unit.Money{}}
		refs := map[uint64]store.Ref{}
		key := func(n uint64) string { return "key-" + strconv.FormatUint(n%3, 10) }
		charge := func(n uint64) []store.Charge {
			return []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: key(n)}, Window: int64(n % 2)}}
		}
		bucket := func(n, inc uint64) string {
			return key(n) + "/" + strconv.FormatUint(n%2, 10) + "/" + strconv.FormatUint(inc, 10)
		}
		next := uint64(0)
		pick := func(from map[uint64]unit.Money) (uint64, bool) {
			if len(from) == 0 {
				return 0, false
			}
			var ids []uint64
			for i := uint64(1); i <= next; i++ {
				if _, ok := from[i]; ok {
					ids = append(ids, i)
				}
			}
			return rapid.SampledFrom(ids).Draw(t, "call"), true
		}
		entry := func(n uint64, cost unit.Money) *store.Entry {
			return &store.Entry{CallID: callID(n), Status: store.Success, Start: t0, End: t0.Add(time.Duration(n) * time.Second),
				Key: key(n), Model: "m", Cost: price.Cost{Total: cost, Priced: true}, Charges: charge(n)}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				next++
				most := unit.Money(rapid.Int64Range(1, 1000).Draw(t, "max"))
				in := &store.Intent{CallID: callID(next), At: t0, Max: most, Key: key(next), Charges: charge(next)}
				if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
					in.EndUser = string(make([]byte, 600))
				}
				ref, err := l.Begin(in)
				require.NoError(t, err)
				refs[next], m.open[next] = ref, most
			},
			"settle": func(t *rapid.T) {
				n, ok := pick(m.open)
				if !ok {
					return
				}
				cost := unit.Money(rapid.Int64Range(0, int64(m.open[n])).Draw(t, "cost"))
				_, err := l.Settle(refs[n], entry(n, cost))
				require.NoError(t, err)
				delete(m.open, n)
				m.booked[n] = cost
				m.windows[bucket(n, inc)] += cost
			},
			"settle again": func(t *rapid.T) {
				n, ok := pick(m.booked)
				if !ok {
					return
				}
				ref := refs[n]
				if rapid.Bool().Draw(t, "without ref") {
					ref = store.Ref{}
				}
				_, err := l.Settle(ref, entry(n, 999_999))
				require.NoError(t, err)
			},
			"abort": func(t *rapid.T) {
				if n, ok := pick(m.open); ok {
					require.NoError(t, l.Abort(refs[n]))
					delete(m.open, n)
				}
			},
			"index": func(t *rapid.T) { require.NoError(t, l.CatchUp()) },
			"restart": func(t *rapid.T) {
				require.NoError(t, l.Close())
				old := inc
				inc++
				l = start()
				require.Len(t, l.Interrupted(), len(m.open))
				for n, most := range m.open {
					m.booked[n] = most
					m.windows[bucket(n, old)] += most
				}
				clear(m.open)
				clear(refs)
			},
			"": func(t *rapid.T) {
				byKey := map[string]unit.Money{}
				for n, c := range m.booked {
					byKey[key(n)] += c
				}
				for k, want := range byKey {
					require.Equal(t, want, l.SpendOf(model.Scope{Dim: model.DimKey, ID: k}))
				}
			},
		})
		have := map[uint64]bool{}
		counters := map[uint64]uint64{}
		for e, err := range l.Entries(0) {
			require.NoError(t, err)
			n := uint64(0)
			for _, b := range e.CallID[8:] {
				n = n<<8 | uint64(b)
			}
			require.False(t, have[n], "call %d twice", n)
			have[n] = true
			require.Equal(t, m.booked[n], e.Cost.Total)
			i := store.Incarnation(e.Seq)
			counters[i]++
			require.Equal(t, store.Seq(i, counters[i]), e.Seq, "dense")
		}
		require.Len(t, have, len(m.booked))
		got := map[string]unit.Money{}
		for i := uint64(1); i <= inc; i++ {
			sums, err := l.Settled(i)
			require.NoError(t, err)
			for _, s := range sums {
				got[s.Scope.ID+"/"+strconv.FormatInt(s.Window, 10)+"/"+strconv.FormatUint(i, 10)] = s.Sum
			}
		}
		for k, v := range m.windows {
			require.Equal(t, v, got[k], k)
		}
		var rolled store.Sums
		for _, s := range l.Rollups(store.ByCaller, -1<<31, 1<<31-1) {
			rolled.Add(s)
		}
		require.Equal(t, int64(len(m.booked)), rolled.Requests)
		require.NoError(t, l.Close())
	})
}
