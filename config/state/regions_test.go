package state_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/residency"
	"tollgate/config/state"
)

func TestRegionRulesAreThoseThatSomebodyHas(t *testing.T) {
	sets := [][]string{nil, {"eu"}, {"us"}, {"eu", "us"}, {"ap"}}
	rapid.Check(t, func(t *rapid.T) {
		b := state.NewBuilder(nil)
		var s *state.Snapshot
		have := map[string]string{}
		ids := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id, set := rapid.SampledFrom(ids).Draw(t, "id"), rapid.SampledFrom(sets).Draw(t, "set")
			rule := strings.Join(set, ",")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				b.Put(&model.Key{Hash: id, DataRegions: set})
				have["key"+id] = rule
			case 1:
				b.Put(&model.Team{ID: id, DataRegions: set})
				have["team"+id] = rule
			case 2:
				b.Put(&model.Organization{ID: id, DataRegions: set})
				have["org"+id] = rule
			case 3:
				require.NoError(t, b.Delete(model.Teams, id))
				delete(have, "team"+id)
			}
			s = b.Snapshot()
			b = state.NewBuilder(s)
		}
		want, got := []string{}, []string{}
		for _, rule := range have {
			if rule != "" && !slices.Contains(want, rule) {
				want = append(want, rule)
			}
		}
		for rule := range s.RegionRules() {
			got = append(got, strings.Join(rule, ","))
		}
		require.ElementsMatch(t, want, got)
	})
}

func TestDataRegionsOfIDsAreWhatAllOfThemAllow(t *testing.T) {
	s := state.NewBuilder(nil).Put(
		&model.Organization{ID: "o", DataRegions: []string{"eu", "us"}},
		&model.Team{ID: "t", DataRegions: []string{"us", "ap"}},
		&model.Key{Hash: "k", DataRegions: []string{"eu"}}, &model.Key{Hash: "free"},
	).Snapshot()
	require.Nil(t, s.DataRegions("free", "", ""))
	require.Nil(t, s.DataRegions("gone", "gone", "gone"))
	require.Equal(t, []string{"eu", "us"}, s.DataRegions("free", "", "o"))
	require.Equal(t, []string{"us"}, s.DataRegions("free", "t", "o"))
	require.Equal(t, []string{"eu"}, s.DataRegions("k", "", "o"))
	require.True(t, residency.IsNowhere(s.DataRegions("k", "t", "o")))
}
