package state_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
)

func TestNilTableIsEmpty(t *testing.T) {
	var tab *state.Table[*model.Key]
	_, ok := tab.Get("x")
	require.False(t, ok)
	require.Zero(t, tab.Len())
	require.Empty(t, tab.IDs())
}

func TestChangingATableLeavesTheOldOneAlone(t *testing.T) {
	one := state.NewBuilder(nil).Put(&model.Key{Hash: "a"}, &model.Key{Hash: "b"}).Snapshot()
	b := state.NewBuilder(one)
	b.Put(&model.Key{Hash: "a", Alias: "new"}, &model.Key{Hash: "c"})
	require.NoError(t, b.Delete(model.Keys, "b"))
	two := b.Snapshot()
	b.Put(&model.Key{Hash: "a", Alias: "newest"})
	three := b.Snapshot()

	require.Equal(t, []string{"a", "b"}, one.Keys.IDs())
	require.Equal(t, []string{"a", "c"}, two.Keys.IDs())
	for i, s := range []*state.Snapshot{one, two, three} {
		k, ok := s.KeyByHash("a")
		require.True(t, ok)
		require.Equal(t, []string{"", "new", "newest"}[i], k.Alias)
	}
}

func TestDeleteOfAnUnknownTableIsRefused(t *testing.T) {
	require.Error(t, state.NewBuilder(nil).Delete("nonsense", "x"))
}

func manyKeys(n int) *state.Snapshot {
	b := state.NewBuilder(nil)
	for i := range n {
		b.Put(&model.Key{Hash: fmt.Sprintf("%064x", i), UserID: "admin", TeamID: fmt.Sprintf("team-%d", i%1000)})
	}
	return b.Snapshot()
}

func BenchmarkLookup(b *testing.B) {
	s := manyKeys(200_000)
	ids := s.Keys.IDs()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := s.KeyByHash(ids[i%len(ids)]); !ok {
			b.Fatal("lost")
		}
		i += 7919
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := manyKeys(n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s = state.NewBuilder(s).Put(&model.Key{Hash: fmt.Sprintf("%064x", i%n), UserID: "admin", TeamID: "moved"}).Snapshot()
				i += 7919
			}
		})
	}
}
