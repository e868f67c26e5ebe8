package state

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drain(o *ordered) []pair {
	var out []pair
	o.from(pair{}, func(p pair) bool { out = append(out, p); return true })
	return out
}

func TestOrderedSetHoldsExactlyWhatWasPutInAndOldOnesStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := rapid.SampledFrom([]string{"", "a", "b", "c"})
		id := rapid.StringMatching(`[a-e]{1,4}`)
		want := map[pair]bool{}
		var set *ordered
		if rapid.Bool().Draw(t, "bulk") {
			var pairs []pair
			for range rapid.IntRange(0, 5000).Draw(t, "n") {
				p := pair{owner.Draw(t, "owner"), id.Draw(t, "id")}
				pairs, want[p] = append(pairs, p), true
			}
			set = orderedOf(pairs)
		}
		old, oldWant := set, sorted(want)
		t.Repeat(map[string]func(*rapid.T){
			"with": func(t *rapid.T) {
				for range 20 {
					p := pair{owner.Draw(t, "owner"), id.Draw(t, "id")}
					set, want[p] = set.with(p), true
				}
			},
			"without": func(t *rapid.T) {
				for range 10 {
					p := pair{owner.Draw(t, "owner"), id.Draw(t, "id")}
					set = set.without(p)
					delete(want, p)
				}
			},
			"mark": func(*rapid.T) { old, oldWant = set, sorted(want) },
			"": func(t *rapid.T) {
				require.Equal(t, sorted(want), drain(set))
				require.Equal(t, oldWant, drain(old))
				o := owner.Draw(t, "asked")
				var ids []string
				for id := range set.of(o) {
					ids = append(ids, id)
				}
				var wantIDs []string
				for _, p := range sorted(want) {
					if p.owner == o {
						wantIDs = append(wantIDs, p.id)
					}
				}
				require.Equal(t, wantIDs, ids)
			},
		})
	})
}

func sorted(m map[pair]bool) []pair {
	var out []pair
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, comparePairs)
	return out
}

func TestOrderedSetOfManyKeepsItsNodesSmall(t *testing.T) {
	var set *ordered
	for i := range 20_000 {
		set = set.with(pair{"u", string(rune('a'+i%26)) + string(rune(0x100+i))})
	}
	var walk func(o *ordered)
	walk = func(o *ordered) {
		require.LessOrEqual(t, len(o.pairs), nodeMax)
		require.NotEmpty(t, o.pairs)
		for i, k := range o.kids {
			require.Equal(t, o.pairs[i], k.pairs[0])
			walk(k)
		}
	}
	walk(set)
	all := drain(set)
	require.Len(t, all, 20_000)
	for _, p := range all {
		set = set.without(p)
	}
	require.Nil(t, set)
}
