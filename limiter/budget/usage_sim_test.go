package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

// use is traffic against one budget from several nodes.
type use struct {
	nodes     int
	limit     unit.Money
	perSecond float64
	max, mean unit.Money    // reserved, and the mean of what a call costs
	lasts     time.Duration // mean
	commit    time.Duration
}

// result is how much of the budget was used when the first call was refused,
// and in the end.
type result struct {
	first, final float64
	asks         int
}

func (u use) run(t *testing.T) (res result) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.delay = u.commit
		var accounts []*budget.Account
		for n := range u.nodes {
			a, stop := w.node(t, id(n), 1, budget.Recovery{})
			defer stop()
			accounts = append(accounts, a)
		}
		w.bank.Watch(func(n budget.Notice) {
			for _, a := range accounts {
				a.Observe(n)
			}
		})
		c := w.set(scope("k"), model.BudgetDef{Limit: u.limit})
		w.bank.Open(time.Now(), c.Scope)
		rng := rand.New(rand.NewPCG(3, 4))
		var mu sync.Mutex
		var calls sync.WaitGroup
		spent, firstAt := unit.Money(0), unit.Money(-1)
		seconds := 3 * float64(u.limit) / float64(u.mean) / u.perSecond
		for range int(seconds * u.perSecond) {
			time.Sleep(time.Duration(rng.ExpFloat64() / u.perSecond * float64(time.Second)))
			a := accounts[rng.IntN(u.nodes)]
			cost := min(u.max, unit.Money(rng.ExpFloat64()*float64(u.mean)))
			lasts := time.Duration(rng.ExpFloat64() * float64(u.lasts))
			calls.Go(func() {
				h := &budget.Hold{}
				err := a.Reserve(t.Context(), []budget.Charge{c}, u.max, u.max, h)
				var no *budget.Exhausted
				switch {
				case errors.As(err, &no):
					mu.Lock()
					if firstAt < 0 {
						firstAt = spent
					}
					mu.Unlock()
				case err == nil:
					time.Sleep(lasts)
					mu.Lock()
					spent += cost
					mu.Unlock()
					a.Settle(h, cost)
				case !errors.Is(err, context.Canceled):
					t.Errorf("neither admitted nor refused: %v", err)
				}
			})
		}
		calls.Wait()
		require.LessOrEqual(t, spent, u.limit)
		res = result{float64(firstAt) / float64(u.limit), float64(spent) / float64(u.limit), w.asks}
	})
	return res
}

func TestNearlyAllOfABudgetIsUsableFromManyNodes(t *testing.T) {
	for name, c := range map[string]struct {
		use
		first, final float64
	}{
		"five nodes":            {use{5, 100 * unit.Dollar, 50, 2 * cent, cent, 3 * time.Second, 5 * time.Millisecond}, 0.95, 0.99},
		"five nodes, loose max": {use{5, 100 * unit.Dollar, 50, 10 * cent, cent, 3 * time.Second, 5 * time.Millisecond}, 0.80, 0.99},
		"small budget":          {use{5, 10 * unit.Dollar, 5, 10 * cent, cent, 3 * time.Second, 5 * time.Millisecond}, 0.75, 0.98},
		"tiny budget":           {use{5, unit.Dollar, 1, 10 * cent, cent, 3 * time.Second, 5 * time.Millisecond}, 0.15, 0.85},
		"three regions":         {use{9, 1000 * unit.Dollar, 200, 10 * cent, 2 * cent, 5 * time.Second, 120 * time.Millisecond}, 0.88, 0.99},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.limit >= 1000*unit.Dollar {
				c.limit /= 5
				c.first = 0.6 // calls in flight now reserve half of it
			}
			r := c.run(t)
			calls := int(float64(c.limit) / float64(c.mean))
			t.Logf("first refusal at %.1f %%, final use %.2f %%, %d proposals for about %d calls", r.first*100, r.final*100, r.asks, calls)
			require.GreaterOrEqual(t, r.final, c.final)
			if r.first >= 0 {
				require.GreaterOrEqual(t, r.first, c.first)
			}
		})
	}
}

func TestSharedBudgetForFortyOfTwoHundredCallsOnThreeNodes(t *testing.T) {
	for _, share := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			var accounts []*budget.Account
			for n := range 3 {
				a, stop := w.node(t, id(n), 1, budget.Recovery{})
				defer stop()
				accounts = append(accounts, a)
			}
			w.bank.Watch(func(n budget.Notice) {
				for _, a := range accounts {
					a.Observe(n)
				}
			})
			c := w.set(scope("k"), model.BudgetDef{Limit: 40 * cent})
			if share {
				w.bank.Open(time.Now(), c.Scope)
			}
			var calls sync.WaitGroup
			var mu sync.Mutex
			admitted := 0
			for i := range 200 {
				calls.Go(func() {
					h := &budget.Hold{}
					if accounts[i%3].Reserve(t.Context(), []budget.Charge{c}, cent, cent, h) == nil {
						mu.Lock()
						admitted++
						mu.Unlock()
						time.Sleep(300 * time.Millisecond)
						accounts[i%3].Settle(h, cent)
					}
				})
			}
			calls.Wait()
			require.Equal(t, 40, admitted, "standing share: %v", share)
		})
	}
}
