package once_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/once"
	"tollgate/ledger/store"
)

func TestOneOfManyCallsWithAKeyIsMadeAndAllAreGivenItsAnswer(t *testing.T) {
	c := newCluster(t)
	nodes := []*node{c.start("a"), c.start("b"), c.start("c")}
	var mu sync.Mutex
	made := 0
	var all sync.WaitGroup
	for i := range 60 {
		n := nodes[i%3]
		all.Go(func() {
			got := n.take(t.Context(), "key", "body")
			if got.err == nil && got.answer == nil {
				mu.Lock()
				made++
				mu.Unlock()
				n.book(t, got.id, store.Success, []byte("answer"))
				n.Done(got.id)
				return
			}
			if got.err != nil || string(got.answer) != "answer" {
				t.Errorf("%q, %v", got.answer, got.err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, made)
	require.Equal(t, 1, c.claims.Len())
}

func TestAnotherBodyAndAnotherCaller(t *testing.T) {
	c := newCluster(t)
	a, b := c.start("a"), c.start("b")
	first := a.take(t.Context(), "key", "body")
	requireMine(t, first)
	requireRefused(t, b.take(t.Context(), "key", "other"), once.Conflict) // while it runs
	a.book(t, first.id, store.Success, []byte("answer"))
	a.Done(first.id)
	requireRefused(t, b.take(t.Context(), "key", "other"), once.Conflict)
	requireRefused(t, a.take(t.Context(), "key", "other"), once.Conflict)
	require.NotEqual(t, once.IDOf("caller", "key"), once.IDOf("other", "key"))
	require.NotEqual(t, once.IDOf("a", "bc"), once.IDOf("ab", "c"))
}

func TestACallWithoutAnAnswerFreesItsKey(t *testing.T) {
	c := newCluster(t)
	a, b := c.start("a"), c.start("b")
	first := a.take(t.Context(), "key", "body")
	requireMine(t, first)
	waiting := make(chan call)
	go func() { waiting <- b.take(context.Background(), "key", "body") }()
	a.Drop(once.IDOf("caller", "key"), first.id) // refused: not even an entry
	second := <-waiting
	requireMine(t, second)
	b.Drop(once.IDOf("caller", "key"), second.id)
	require.Eventually(t, func() bool { return c.claims.Len() == 0 }, 5*time.Second, time.Millisecond)
	requireMine(t, b.take(t.Context(), "key", "another body"))
}

func TestACallThatTakesTooLongIsWaitedForAsLongAsOneMay(t *testing.T) {
	c := newCluster(t)
	a, b := c.start("a"), c.start("b")
	requireMine(t, a.take(t.Context(), "key", "body"))
	ctx, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	requireRefused(t, b.take(ctx, "key", "body"), once.Running)
	here, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	requireRefused(t, a.take(here, "key", "body"), once.Running)
}

func TestWithoutAgreementNothingIsBegun(t *testing.T) {
	for name, applied := range map[string]bool{"never applied": false, "applied although nobody heard": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a, b := c.start("a"), c.start("b")
			c.mu.Lock()
			c.away, c.after = errDown, applied
			c.mu.Unlock()
			got := a.take(t.Context(), "key", "body")
			require.ErrorIs(t, got.err, errDown)
			c.mu.Lock()
			c.away = nil
			c.mu.Unlock()
			requireMine(t, b.take(t.Context(), "key", "body")) // only node a knows that nothing was begun
		})
	}
}

func TestReleasesAreTriedUntilTheyAreAgreedOn(t *testing.T) {
	c := newCluster(t)
	a := c.start("a")
	first := a.take(t.Context(), "key", "body")
	requireMine(t, first)
	c.mu.Lock()
	c.away = errDown
	c.mu.Unlock()
	a.Drop(once.IDOf("caller", "key"), first.id)
	time.AfterFunc(100*time.Millisecond, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.away = nil
	})
	require.Eventually(t, func() bool { return c.claims.Len() == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestWhatBecameOfTheCallOfANodeThatIsAway(t *testing.T) {
	for name, tc := range map[string]struct {
		copied *kept
		answer string
		why    once.Why
	}{
		"nobody knows":                   {nil, "", once.Unknown},
		"a copy has the answer":          {&kept{store.Success, []byte("answer")}, "answer", 0},
		"a copy has only that it is":     {&kept{store.Success, nil}, "", once.Unknown},
		"a copy knows that it was ended": {&kept{store.Interrupted, nil}, "", once.Unknown},
		"a copy knows that it failed":    {&kept{store.Failure, nil}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a, b := c.start("a"), c.start("b")
			first := a.take(t.Context(), "key", "body")
			requireMine(t, first)
			a.end()
			if tc.copied != nil {
				c.copies[first.id] = *tc.copied
			}
			got := b.take(t.Context(), "key", "body")
			if tc.why != 0 {
				requireRefused(t, got, tc.why)
				return
			}
			require.NoError(t, got.err)
			require.Equal(t, tc.answer, string(got.answer))
		})
	}
}

func TestWhatTheNextStartKnowsOfACall(t *testing.T) {
	for name, tc := range map[string]struct {
		end    func(t *testing.T, n *node, id once.CallID)
		answer string
		why    once.Why
	}{
		"answered":                         {func(t *testing.T, n *node, id once.CallID) { n.book(t, id, store.Success, []byte("answer")) }, "answer", 0},
		"answered, and the answer is gone": {func(t *testing.T, n *node, id once.CallID) { n.book(t, id, store.Success, nil) }, "", once.NotKept},
		"failed":                           {func(t *testing.T, n *node, id once.CallID) { n.book(t, id, store.Failure, nil) }, "", 0},
		"in flight": {func(t *testing.T, n *node, id once.CallID) {
			_, err := n.ledger.Begin(&store.Intent{CallID: id, At: time.Now(), Key: "k"})
			require.NoError(t, err)
		}, "", once.Unknown},
		"never begun": {func(*testing.T, *node, once.CallID) {}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a, b := c.start("a"), c.start("b")
			a.book(t, newCall(), store.Success, nil) // so that it is known since when the ledger has all
			c.now = time.Now().Add(time.Millisecond)
			first := a.take(t.Context(), "key", "body")
			requireMine(t, first)
			tc.end(t, a, first.id)
			a.end()
			c.start("a")
			got := b.take(t.Context(), "key", "body")
			if tc.why != 0 {
				requireRefused(t, got, tc.why)
				return
			}
			require.NoError(t, got.err)
			require.Equal(t, tc.answer, string(got.answer))
		})
	}
}

func TestAKeyIsFreeAfterADay(t *testing.T) {
	c := newCluster(t)
	a := c.start("a")
	first := a.take(t.Context(), "key", "body")
	requireMine(t, first)
	a.book(t, first.id, store.Success, []byte("answer"))
	a.Done(first.id)
	c.now = c.now.Add(once.HoldsFor - time.Second)
	require.Equal(t, "answer", string(a.take(t.Context(), "key", "body").answer))
	c.now = c.now.Add(time.Second)
	requireMine(t, a.take(t.Context(), "key", "other"))
}

func TestKeysThatComeTogetherShareProposals(t *testing.T) {
	c := newCluster(t)
	c.slow = make(chan struct{})
	a := c.start("a")
	const keys = 500
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			if got := a.take(t.Context(), fmt.Sprint("key", i), "body"); got.err != nil || got.answer != nil {
				t.Errorf("%q, %v", got.answer, got.err)
			}
		})
	}
	defer close(c.slow) // whatever fails, nobody hangs
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ops+once.Waiting(a.Desk) == keys
	}, 10*time.Second, time.Millisecond)
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for over := false; !over; {
		select {
		case c.slow <- struct{}{}:
		case <-ended:
			over = true
		}
	}
	require.Equal(t, keys, c.claims.Len())
	require.LessOrEqual(t, c.sent, keys/4)
	t.Logf("%d keys took %d proposals", keys, c.sent)
}
