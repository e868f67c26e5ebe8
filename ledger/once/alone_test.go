package once_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/once"
	"tollgate/ledger/store"
)

// TestWhileAMemberDoesNotKnowClaimsKeysHoldOnTheirNodeAndNothingIsProposed: a node
// of an older release would stop at the first proposal.
func TestWhileAMemberDoesNotKnowClaimsKeysHoldOnTheirNodeAndNothingIsProposed(t *testing.T) {
	c := newCluster(t)
	c.upgrade(false)
	a, b := c.start("a"), c.start("b")
	require.True(t, a.Alone())
	ctx := context.Background()

	first := a.take(ctx, "early", "x")
	requireMine(t, first)
	a.book(t, first.id, store.Success, []byte("answer of a"))
	a.Done(first.id)
	again := a.take(ctx, "early", "x")
	require.NoError(t, again.err)
	require.Equal(t, "answer of a", string(again.answer))
	requireRefused(t, a.take(ctx, "early", "y"), once.Conflict)
	there := b.take(ctx, "early", "x") // the other node knows nothing of it
	requireMine(t, there)
	b.Drop(once.IDOf("caller", "early"), there.id)
	require.Zero(t, c.sent, "proposals")
	require.Zero(t, c.claims.Len())
	require.Zero(t, snapshotOf(c.claims), "an older release could not read it")

	// All members know claims: what is known alone stays so, the rest is everybody's.
	c.upgrade(true)
	require.False(t, a.Alone())
	again = a.take(ctx, "early", "x")
	require.NoError(t, again.err)
	require.Equal(t, "answer of a", string(again.answer))
	require.Zero(t, c.sent)
	late := a.take(ctx, "late", "x")
	requireMine(t, late)
	a.book(t, late.id, store.Success, []byte("answer to all"))
	a.Done(late.id)
	for _, n := range []*node{a, b} {
		again = n.take(ctx, "late", "x")
		require.NoError(t, again.err)
		require.Equal(t, "answer to all", string(again.answer))
	}
	require.Equal(t, 1, c.claims.Len())
	require.NotZero(t, snapshotOf(c.claims))
}

// TestKeysOfBothKindsAreAnsweredInOneBatch: they are proposed together and each
// call gets the word on its own.
func TestKeysOfBothKindsAreAnsweredInOneBatch(t *testing.T) {
	c := newCluster(t)
	c.upgrade(false)
	a := c.start("a")
	ctx := context.Background()
	for _, key := range []string{"e1", "e2"} {
		first := a.take(ctx, key, "x")
		requireMine(t, first)
		a.book(t, first.id, store.Success, []byte("answer "+key))
		a.Done(first.id)
	}
	c.upgrade(true)
	got := make(chan [2]string, 40)
	for i := range 40 {
		go func() {
			key := []string{"e1", "n1", "e2", "n2"}[i%4]
			said := a.take(ctx, key, "x")
			switch {
			case said.err != nil:
				got <- [2]string{key, said.err.Error()}
			case said.answer != nil:
				got <- [2]string{key, string(said.answer)}
			default:
				a.book(t, said.id, store.Success, []byte("answer "+key))
				a.Done(said.id)
				got <- [2]string{key, "mine"}
			}
		}()
	}
	mine := map[string]int{}
	for range 40 {
		g := <-got
		if g[1] == "mine" {
			mine[g[0]]++
			continue
		}
		require.Equal(t, "answer "+g[0], g[1])
	}
	require.Equal(t, map[string]int{"n1": 1, "n2": 1}, mine)
	require.Equal(t, 2, c.claims.Len())
}

// snapshotOf counts the records of a snapshot.
func snapshotOf(c *once.Claims) (records int) {
	for range c.Snapshot() {
		records++
	}
	return records
}

// TestAnAnswerThatMayNotLeaveIsToldToNobodyWhoIsElsewhere, and its call is not made
// a second time.
func TestAnAnswerThatMayNotLeaveIsToldToNobodyWhoIsElsewhere(t *testing.T) {
	c := newCluster(t)
	c.may = func(node string, e *store.Entry) bool { return e.DataRegions == nil || node != "outside" }
	maker, inside, outside := c.start("maker"), c.start("inside"), c.start("outside")
	for key, regions := range map[string][]string{"stays": {"eu"}, "goes": nil} {
		first := maker.take(t.Context(), key, "x")
		requireMine(t, first)
		ref, err := maker.ledger.Begin(&store.Intent{CallID: first.id, At: time.Now(), Key: "k"})
		require.NoError(t, err)
		_, err = maker.ledger.Settle(ref, &store.Entry{CallID: first.id, Status: store.Success, Start: time.Now(), End: time.Now(), Answer: []byte(key), DataRegions: regions})
		require.NoError(t, err)
		maker.Done(first.id)
		for _, n := range []*node{maker, inside} {
			again := n.take(t.Context(), key, "x")
			require.NoError(t, again.err)
			require.Equal(t, key, string(again.answer))
		}
	}
	requireRefused(t, outside.take(t.Context(), "stays", "x"), once.Elsewhere)
	requireRefused(t, outside.take(t.Context(), "stays", "y"), once.Conflict)
	require.Equal(t, "goes", string(outside.take(t.Context(), "goes", "x").answer))
}
