package reader_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/residency"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// TestNothingOfAClientLeavesItsRegionsWhateverTheRulesBecome books calls under
// rules of their own, changes the rules that hold now while a sink is away, and
// looks at what the sinks of all regions are given.
func TestNothingOfAClientLeavesItsRegionsWhateverTheRulesBecome(t *testing.T) {
	regions := []string{"eu", "us", "ap"}
	sets := rapid.SliceOfNDistinct(rapid.SampledFrom(regions), 0, 3, rapid.ID[string])
	rapid.Check(t, func(rt *rapid.T) {
		virtual(t, func(t *testing.T, l *store.Ledger) {
			own := rapid.SliceOfN(sets, 1, 12).Draw(rt, "rules of the calls")
			now := sets.Draw(rt, "rule now")
			later := sets.Draw(rt, "rule after the first attempt")
			at := rapid.SampledFrom(append(regions, "")).Draw(rt, "the sink's region")
			withhold := rapid.Bool().Draw(rt, "the sink gets nothing")
			for i, set := range own {
				e := entry(l.LastSeq() + 1)
				e.DataRegions = set
				said := []byte(`{"said":"secret"}`)
				e.Metadata, e.SpendLogsMetadata, e.RequestUser, e.IP = said, said, "secret", "secret"
				e.Key = string(rune('a' + i))
				_, err := l.Settle(store.Ref{}, e)
				require.NoError(rt, err)
			}
			inside := func(e *store.Entry) bool { return residency.Allows(residency.Meet(e.DataRegions, now), at) }
			got := map[uint64]bool{} // whether it said something
			s := &receiver{fault: func(call int, batch []*store.Entry) error {
				if call == 1 {
					now = later
					return errAway
				}
				for _, e := range batch {
					got[e.Seq] = len(e.Metadata)+len(e.SpendLogsMetadata)+len(e.RequestUser)+len(e.IP) > 0
				}
				return nil
			}}
			cfg := reader.Config{Whole: inside}
			if withhold {
				cfg = reader.Config{Allow: inside}
			}
			r := reader.New(l, "r", s, cfg)
			stop := start(t, r)
			defer stop()
			until(t, time.Hour, func() bool { return r.Stats().Position == l.LastSeq() })
			for seq, e := range all(rt, l) {
				said, delivered := got[seq]
				switch ok := residency.Allows(residency.Meet(e.DataRegions, later), at); {
				case s.asked() == 0: // the first rule let nothing out at all
				case withhold:
					require.Equal(rt, ok && residency.Allows(e.DataRegions, at), delivered && said)
				default:
					require.True(rt, delivered, "the figures arrive in any case")
					require.Equal(rt, ok, said)
				}
			}
		})
	})
}

func TestBodiesOfAStrippedEntryAreNotLoaded(t *testing.T) {
	l := open(t, t.TempDir())
	defer func() { require.NoError(t, l.Close()) }()
	for i := range 4 {
		e := entry(uint64(i + 1))
		e.Messages, e.Response, e.Request = []byte(`[1]`), []byte(`[2]`), []byte(`[3]`)
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
	}
	var bodies []int
	s := &receiver{fault: func(_ int, batch []*store.Entry) error {
		for _, e := range batch {
			bodies = append(bodies, len(e.Messages)+len(e.Response)+len(e.Request))
		}
		return nil
	}}
	r := reader.New(l, "r", s, reader.Config{Bodies: reader.CallbackBodies, Whole: func(e *store.Entry) bool { return e.Seq%2 == 0 }})
	stop := start(t, r)
	require.NoError(t, r.Flush(t.Context()))
	stop()
	require.ElementsMatch(t, []int{9, 0, 9, 0}, bodies)
	require.Equal(t, uint64(2), r.Stats().Stripped)
}

func all(t require.TestingT, l *store.Ledger) map[uint64]*store.Entry {
	out := map[uint64]*store.Entry{}
	for e, err := range l.Entries(0) {
		require.NoError(t, err)
		out[e.Seq] = e
	}
	return out
}
