package budget_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cent = unit.Dollar / 100

// world is a bank with nodes around it. Proposals take a delay, as raft does.
type world struct {
	mu     sync.Mutex
	defs   map[model.Scope]model.BudgetDef
	bank   *budget.Bank
	delay  time.Duration
	down   bool
	asks   int
	locked sync.Mutex // proposals are applied one at a time
}

func newWorld() *world {
	w := &world{defs: map[model.Scope]model.BudgetDef{}, delay: 5 * time.Millisecond}
	w.bank = budget.NewBank(w.resolve, nil)
	return w
}

func (w *world) resolve(s model.Scope) (model.BudgetDef, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.defs[s]
	return d, ok
}

func (w *world) set(s model.Scope, d model.BudgetDef) budget.Charge {
	w.mu.Lock()
	w.defs[s] = d
	w.mu.Unlock()
	return budget.Charge{Scope: s, Def: d}
}

func (w *world) propose(ctx context.Context, p []byte) (*budget.Answer, error) {
	select {
	case <-time.After(w.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.locked.Lock()
	defer w.locked.Unlock()
	w.asks++
	if w.down {
		return nil, errors.New("no leader")
	}
	return w.bank.Apply(1, time.Now(), budget.Version, p).(*budget.Answer), nil
}

// node starts an account and its Run; stop ends it.
func (w *world) node(t *testing.T, id budget.NodeID, inc uint64, rec budget.Recovery) (a *budget.Account, stop func()) {
	t.Helper()
	a, err := budget.NewAccount(budget.Config{Node: id, Incarnation: inc, Propose: w.propose,
		Look: func(s model.Scope) (budget.View, bool) { return w.bank.Look(s, id, inc) }})
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context(), rec))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	return a, func() { cancel(); <-done }
}

func scope(id string) model.Scope { return model.Scope{Dim: model.DimKey, ID: id} }

func reserve(t *testing.T, a *budget.Account, m unit.Money, cs ...budget.Charge) *budget.Hold {
	t.Helper()
	h := &budget.Hold{}
	require.NoError(t, a.Reserve(t.Context(), cs, m, m, h))
	return h
}

func refused(t *testing.T, a *budget.Account, m unit.Money, cs ...budget.Charge) *budget.Exhausted {
	t.Helper()
	var no *budget.Exhausted
	require.ErrorAs(t, a.Reserve(t.Context(), cs, m, m, &budget.Hold{}), &no)
	return no
}

func TestFirstUseCostsOneProposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		before, at := w.asks, time.Now()
		h := reserve(t, a, cent, c)
		require.Equal(t, before+1, w.asks)
		require.LessOrEqual(t, time.Since(at), 30*time.Millisecond)
		a.Settle(h, cent)
	})
}

func TestStandingShareNeedsNoProposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		b, stopB := w.node(t, "b", 1, budget.Recovery{})
		defer stopB()
		c := w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
		w.bank.Open(time.Now(), c.Scope)
		at := time.Now()
		for _, n := range []*budget.Account{a, b} {
			h := reserve(t, n, cent, c)
			n.Settle(h, cent)
		}
		require.Zero(t, time.Since(at), "nobody was asked")
	})
}

func TestConcurrentCallsNeverPassTheBudgetAndUseNearlyAllOfIt(t *testing.T) {
	for _, cost := range []unit.Money{cent, cent / 2, cent / 10} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			c := w.set(scope("k"), model.BudgetDef{Limit: 400 * cent})
			a, stop := w.node(t, "a", 1, budget.Recovery{})
			defer stop()
			var wg sync.WaitGroup
			var mu sync.Mutex
			admitted := 0
			for range 1200 {
				wg.Go(func() {
					h := &budget.Hold{}
					if err := a.Reserve(t.Context(), []budget.Charge{c}, cent, cent, h); err != nil {
						return
					}
					mu.Lock()
					admitted++
					mu.Unlock()
					time.Sleep(50 * time.Millisecond)
					a.Settle(h, cost)
				})
			}
			wg.Wait()
			spent, _, _ := a.Spent(c.Scope)
			require.LessOrEqual(t, spent, c.Def.Limit)
			want := min(1200, int(c.Def.Limit/cost))
			require.GreaterOrEqual(t, admitted, want*95/100)
			require.Zero(t, a.Reserved(c.Scope))
		})
	}
}

func TestRefusalComesAtOnceWhenSettledSpendLeavesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "d"}})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, unit.Dollar, c), 95*cent)
		at := time.Now()
		no := refused(t, a, 10*cent, c)
		require.Zero(t, time.Since(at))
		require.Equal(t, 95*cent, no.Spent)
		require.Equal(t, unit.Dollar, no.Limit)
		require.Equal(t, 10*cent, no.Need)
		require.Positive(t, no.RetryAfter)
		require.True(t, no.Resets.After(time.Now()))
		a.Settle(reserve(t, a, 5*cent, c), 5*cent)
		refused(t, a, 0, c)
	})
}

func TestARefusalNamesWithinTwoSecondsWhatOtherNodesHaveSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stopA := w.node(t, "a", 1, budget.Recovery{})
		defer stopA()
		b, stopB := w.node(t, "b", 1, budget.Recovery{})
		defer stopB()
		spent := unit.Money(0)
		for _, calls := range []int{84, 1, 2, 1} { // the later ones are too little to be told at once
			for range calls {
				a.Settle(reserve(t, a, cent, c), cent)
				spent += cent
			}
			time.Sleep(2100 * time.Millisecond)
			no := refused(t, b, 40*cent, c)
			require.Equal(t, spent, no.Spent)
			require.LessOrEqual(t, no.Spent+no.Reserved, unit.Dollar)
		}
	})
}

func TestZeroBudgetBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		require.Zero(t, refused(t, a, 0, c).RetryAfter)
		s := w.set(scope("soft"), model.BudgetDef{Soft: true})
		refused(t, a, 0, s)
	})
}

func TestCallShortOnlyBecauseOfCallsInFlightWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		h := reserve(t, a, unit.Dollar, c)
		go func() {
			time.Sleep(500 * time.Millisecond)
			a.Settle(h, cent)
		}()
		at := time.Now()
		g := reserve(t, a, 90*cent, c)
		require.Equal(t, 500*time.Millisecond, time.Since(at))
		a.Settle(g, 0)
		h = reserve(t, a, 99*cent, c)
		at = time.Now()
		no := refused(t, a, 99*cent, c)
		require.InDelta(t, time.Second, time.Since(at), float64(50*time.Millisecond))
		require.Equal(t, 99*cent, no.Reserved)
		require.Equal(t, cent, no.Spent)
		a.Settle(h, 0)
		require.Zero(t, a.Reserved(c.Scope))
	})
}

func TestBankOutOfReachIsNotARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		w.locked.Lock()
		w.down = true
		w.locked.Unlock()
		err := a.Reserve(t.Context(), []budget.Charge{c}, cent, cent, &budget.Hold{})
		require.ErrorIs(t, err, budget.ErrUnavailable)
		w.locked.Lock()
		w.down = false
		w.locked.Unlock()
		a.Settle(reserve(t, a, cent, c), 0)
	})
}

func TestHeldCreditIsSpentWithoutTheBank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, cent, c), cent)
		w.locked.Lock()
		w.down = true
		w.locked.Unlock()
		for range 5 {
			a.Settle(reserve(t, a, cent, c), cent)
		}
	})
}

func TestCallWithoutMaximumIsClampedToWhatIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, 70*cent, c), 70*cent)
		h := &budget.Hold{}
		require.NoError(t, a.Reserve(t.Context(), []budget.Charge{c}, 5*unit.Dollar, cent, h))
		require.Equal(t, 30*cent, h.Granted())
		a.Settle(h, 29*cent+cent/2)
		refused(t, a, cent, c)
		require.NoError(t, a.Reserve(t.Context(), []budget.Charge{c}, 5*unit.Dollar, cent/10, h))
		require.Equal(t, cent/2, h.Granted())
		a.Settle(h, 0)
	})
}

func TestChainIsReservedWhollyOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		big := w.set(scope("team"), model.BudgetDef{Limit: 100 * unit.Dollar})
		small := w.set(scope("key"), model.BudgetDef{Limit: 10 * cent})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		no := refused(t, a, 11*cent, big, small)
		require.Equal(t, small.Scope, no.Scope)
		require.Equal(t, 1, no.Index)
		require.Zero(t, a.Reserved(big.Scope))
		h := reserve(t, a, 10*cent, big, small)
		require.Equal(t, 10*cent, a.Reserved(big.Scope))
		a.Settle(h, 4*cent)
		for _, c := range []budget.Charge{big, small} {
			spent, _, _ := a.Spent(c.Scope)
			require.Equal(t, 4*cent, spent)
			require.Zero(t, a.Reserved(c.Scope))
		}
	})
}

func TestSoftBudgetIsCheckedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar, Soft: true})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		b, stopB := w.node(t, "b", 1, budget.Recovery{})
		defer stopB()
		h1, h2 := reserve(t, a, 90*cent, c), reserve(t, a, 90*cent, c)
		require.Zero(t, a.Reserved(c.Scope))
		a.Settle(h1, 80*cent)
		a.Settle(h2, 80*cent)
		no := refused(t, a, cent, c)
		require.Equal(t, 160*cent, no.Spent)
		time.Sleep(3 * time.Second)
		require.Equal(t, 160*cent, refused(t, b, cent, c).Spent, "the other node has heard of it")
	})
}

func TestNewWindowOpensWithAFreshBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "h"}})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, unit.Dollar, c), unit.Dollar)
		no := refused(t, a, cent, c)
		late := &budget.Hold{}
		time.Sleep(time.Until(no.Resets))
		require.NoError(t, a.Reserve(t.Context(), []budget.Charge{c}, 50*cent, 50*cent, late))
		_, win := late.Window(0)
		require.Equal(t, no.Resets.Unix(), win)
		time.Sleep(time.Hour)
		h := reserve(t, a, unit.Dollar, c)
		a.Settle(late, 30*cent)
		spent, _, _ := a.Spent(c.Scope)
		require.Zero(t, spent, "a call settles in the window that admitted it")
		a.Settle(h, 0)
		require.Zero(t, a.Reserved(c.Scope))
	})
}

func TestGrowFollowsIntoTheNextWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "h"}})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		h := reserve(t, a, 60*cent, c)
		_, err := a.Grow(t.Context(), []budget.Charge{c}, 50*cent, 50*cent, h)
		var no *budget.Exhausted
		require.ErrorAs(t, err, &no)
		got, err := a.Grow(t.Context(), []budget.Charge{c}, 50*cent, 10*cent, h)
		require.NoError(t, err)
		require.Equal(t, 40*cent, got)
		require.Equal(t, unit.Dollar, h.Granted())
		time.Sleep(time.Hour)
		a.Settle(reserve(t, a, cent/2, c), 0) // has the window change noticed
		time.Sleep(time.Second)
		a.Settle(reserve(t, a, cent/2, c), 0)
		_, err = a.Grow(t.Context(), []budget.Charge{c}, cent, cent, h)
		require.ErrorAs(t, err, &no, "one dollar does not hold a dollar and a cent")
		a.Settle(h, 10*cent)
		require.Zero(t, a.Reserved(c.Scope))

		h = reserve(t, a, 20*cent, c)
		_, win := h.Window(0)
		time.Sleep(time.Hour)
		a.Settle(reserve(t, a, cent, c), 0)
		time.Sleep(time.Second)
		_, err = a.Grow(t.Context(), []budget.Charge{c}, 10*cent, 10*cent, h)
		require.NoError(t, err)
		_, now := h.Window(0)
		require.Equal(t, win+3600, now)
		require.Equal(t, 30*cent, a.Reserved(c.Scope))
		a.Settle(h, 30*cent)
	})
}

func TestRestartChargesWhatTheLedgerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		a.Settle(reserve(t, a, 30*cent, c), 20*cent)
		reserve(t, a, 25*cent, c) // never settled
		stop()
		settled := func(yield func(budget.Settled) bool) {
			yield(budget.Settled{Incarnation: 1, Scope: c.Scope, Window: 0, S: 45 * cent})
		}
		a, stop = w.node(t, "a", 2, budget.Recovery{Settled: settled})
		defer stop()
		refused(t, a, 56*cent, c)
		a.Settle(reserve(t, a, 55*cent, c), 55*cent)
		require.Equal(t, unit.Dollar, refused(t, a, 1, c).Spent)
	})
}

func TestPowerCutWritesHeldCreditOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		a.Settle(reserve(t, a, 30*cent, c), 20*cent)
		v, _ := w.bank.Look(c.Scope, "a", 1)
		stop()
		a, stop = w.node(t, "a", 2, budget.Recovery{WriteOff: true})
		defer stop()
		require.Equal(t, v.Granted-v.Given, refused(t, a, unit.Dollar, c).Spent)
	})
}

func TestForgottenNodeIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, cent, c), cent)
		w.bank.Do(time.Now(), &budget.Command{Op: budget.OpForget, Node: "a"})
		time.Sleep(30 * time.Second)
		err := a.Reserve(t.Context(), []budget.Charge{c}, cent, cent, &budget.Hold{})
		require.ErrorIs(t, err, budget.ErrFenced)
	})
}

func TestUnknownBudgetIsSaidToBeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		c := budget.Charge{Scope: scope("k"), Def: model.BudgetDef{Limit: unit.Dollar}}
		require.ErrorIs(t, a.Reserve(t.Context(), []budget.Charge{c}, cent, cent, &budget.Hold{}), budget.ErrUnknown)
		w.set(c.Scope, c.Def)
		time.Sleep(2 * time.Second)
		a.Settle(reserve(t, a, cent, c), 0)
	})
}

func TestIdleCreditGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		a.Settle(reserve(t, a, cent, c), cent)
		time.Sleep(30 * time.Second)
		v, _ := w.bank.Look(c.Scope, "a", 1)
		require.Equal(t, cent, v.Spent)
		require.LessOrEqual(t, v.Granted-v.Given-v.Spent, v.Share, "only the standing share stays")
		time.Sleep(2 * time.Minute)
		a.Settle(reserve(t, a, cent, c), cent)
		spent, _, _ := a.Spent(c.Scope)
		require.Equal(t, 2*cent, spent, "a record that was forgotten comes back with its totals")
	})
}

func TestTightBudgetIsRecalledFromIdleNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		b, stopB := w.node(t, "b", 1, budget.Recovery{})
		defer stopB()
		w.bank.Watch(func(n budget.Notice) { a.Observe(n); b.Observe(n) })
		a.Settle(reserve(t, a, 30*unit.Dollar, c), 0)
		at := time.Now()
		h := reserve(t, b, 99*unit.Dollar, c)
		require.Less(t, time.Since(at), 500*time.Millisecond)
		b.Settle(h, 99*unit.Dollar)
		a.Settle(reserve(t, a, unit.Dollar, c), unit.Dollar)
		refused(t, a, 1, c)
	})
}

func TestCancelledWaitLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar})
		a, stop := w.node(t, "a", 1, budget.Recovery{})
		defer stop()
		h := reserve(t, a, unit.Dollar, c)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, a.Reserve(ctx, []budget.Charge{c}, cent, cent, &budget.Hold{}), context.DeadlineExceeded)
		a.Settle(h, 0)
		a.Settle(reserve(t, a, unit.Dollar, c), 0)
		require.Zero(t, a.Reserved(c.Scope))
	})
}
