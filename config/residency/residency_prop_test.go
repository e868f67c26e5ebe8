package residency_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/residency"
)

func sets() *rapid.Generator[[]string] {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"", "eu", "us", "ap", "in"}), 0, 5)
}

func TestMeetAllowsExactlyWhatEverySetAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(sets(), 0, 4).Draw(t, "sets")
		var met []string
		ruled := false
		for _, s := range all {
			met = residency.Meet(met, s)
			ruled = ruled || len(s) > 0
		}
		open := false
		for _, region := range []string{"", "eu", "us", "ap", "in", "elsewhere"} {
			want := true
			for _, s := range all {
				want = want && residency.Allows(s, region)
			}
			require.Equal(t, want, residency.Allows(met, region), "%q in %v", region, met)
			open = open || want
		}
		require.Equal(t, ruled, len(met) > 0, "a rule never turns into none")
		require.Equal(t, !open, residency.IsNowhere(met))
	})
}

func TestARegionNobodyKnowsIsAllowedOnlyWithoutARule(t *testing.T) {
	require.True(t, residency.Allows(nil, ""))
	require.False(t, residency.Allows([]string{"eu"}, ""))
	require.False(t, residency.Allows(residency.Nowhere(), ""))
	require.False(t, residency.Allows(residency.Nowhere(), "eu"))
}

func TestMeetingOneRuleAllocatesNothing(t *testing.T) {
	eu, wide := []string{"eu"}, []string{"eu", "us"}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		residency.Meet(residency.Meet(nil, nil), nil)
		residency.Meet(residency.Meet(nil, wide), eu)
	}))
}
