package admit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cent = unit.Dollar / 100

// gate is one node: a bank, an account and a limiter under an Admitter.
type gate struct {
	*admit.Admitter
	account *budget.Account
	rates   *rate.Limiter
	mu      sync.Mutex
	defs    map[model.Scope]model.BudgetDef
}

type failer interface {
	require.TestingT
	Helper()
}

func open(t failer) (g *gate, stop func()) {
	g = &gate{defs: map[model.Scope]model.BudgetDef{}}
	bank := budget.NewBank(func(s model.Scope) (model.BudgetDef, bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		d, ok := g.defs[s]
		return d, ok
	}, nil)
	var one sync.Mutex
	var err error
	g.account, err = budget.NewAccount(budget.Config{Node: "a", Incarnation: 1,
		Propose: func(_ context.Context, p []byte) (*budget.Answer, error) {
			time.Sleep(5 * time.Millisecond)
			one.Lock()
			defer one.Unlock()
			return bank.Apply(1, time.Now(), budget.Version, p).(*budget.Answer), nil
		},
		Look: func(s model.Scope) (budget.View, bool) { return bank.Look(s, "a", 1) }})
	require.NoError(t, err)
	require.NoError(t, g.account.Start(context.Background(), budget.Recovery{}))
	g.rates = rate.New(rate.Config{})
	g.Admitter = admit.New(g.rates, g.account)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.account.Run(ctx) }()
	return g, func() { cancel(); <-done }
}

func (g *gate) budget(id string, d model.BudgetDef) admit.BudgetCharge {
	s := model.Scope{Dim: model.DimKey, ID: id}
	g.mu.Lock()
	g.defs[s] = d
	g.mu.Unlock()
	return admit.BudgetCharge{Scope: s, Def: d}
}

func (g *gate) rate(id string, k admit.Kind, limit, units int64) admit.RateCharge {
	s := model.Scope{Dim: model.DimKey, ID: id}
	return admit.RateCharge{LimitID: g.LimitID(s, k), Scope: s, Kind: k, Limit: limit, Units: units}
}

func TestBudgetWorthFourHundredOfTwelveHundredRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		b := g.budget("k", model.BudgetDef{Limit: 400 * cent})
		var wg sync.WaitGroup
		var mu sync.Mutex
		admitted, refused := 0, 0
		for range 1200 {
			wg.Go(func() {
				r, err := g.Acquire(t.Context(), &admit.Ask{Budgets: []admit.BudgetCharge{b}, Max: cent})
				mu.Lock()
				defer mu.Unlock()
				var no *admit.Refusal
				switch {
				case err == nil:
					admitted++
					wg.Go(func() { time.Sleep(200 * time.Millisecond); r.Settle(10, cent) })
				case errors.As(err, &no):
					require.True(t, no.Budget)
					refused++
				default:
					t.Errorf("neither admitted nor refused: %v", err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, admitted, 400)
		require.GreaterOrEqual(t, admitted, 380)
		require.Equal(t, 1200, admitted+refused)
	})
}

func TestSixHundredAMinuteOfThreeThousandRequests(t *testing.T) {
	g, stop := open(t)
	defer stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 3000 {
		wg.Go(func() {
			r, err := g.Acquire(t.Context(), &admit.Ask{Rates: []admit.RateCharge{g.rate("k", admit.Requests, 600, 1)}})
			if err == nil {
				r.Settle(0, 0)
				r.Release()
				mu.Lock()
				admitted++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, admitted, 600)
	require.GreaterOrEqual(t, admitted, 582)
}

func TestRefusalNamesTheLimitAndItsNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		ask := &admit.Ask{Rates: []admit.RateCharge{g.rate("k", admit.Requests, 2, 1), g.rate("t", admit.Tokens, 100, 40)}}
		for range 2 {
			_, err := g.Acquire(t.Context(), ask)
			require.NoError(t, err)
		}
		_, err := g.Acquire(t.Context(), ask)
		var no *admit.Refusal
		require.ErrorAs(t, err, &no)
		require.False(t, no.Budget)
		require.Equal(t, "k", no.Scope.ID)
		require.Equal(t, admit.Requests, no.Kind)
		require.EqualValues(t, 2, no.Limit)
		require.Positive(t, no.RetryAfter)
		require.LessOrEqual(t, no.RetryAfter, 64*time.Second)
	})
}

func TestExhaustedBudgetIsToldBeforeARateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		b := g.budget("k", model.BudgetDef{Limit: cent, Window: unit.Window{N: 1, Unit: "d"}})
		ask := &admit.Ask{Rates: []admit.RateCharge{g.rate("k", admit.Requests, 1, 1)}, Budgets: []admit.BudgetCharge{b}, Max: cent}
		r, err := g.Acquire(t.Context(), ask)
		require.NoError(t, err)
		r.Settle(1, cent)
		_, err = g.Acquire(t.Context(), ask)
		var no *admit.Refusal
		require.ErrorAs(t, err, &no)
		require.True(t, no.Budget)
		require.Equal(t, cent, no.MaxBudget)
		require.Equal(t, cent, no.Spent)
		require.False(t, no.Resets.IsZero())
	})
}

func TestRefusedBudgetGivesTheRateUnitsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		b := g.budget("k", model.BudgetDef{Limit: cent})
		rates := []admit.RateCharge{g.rate("k", admit.Requests, 10, 1), g.rate("k", admit.Tokens, 100, 50), g.rate("k", admit.Parallel, 5, 1)}
		_, err := g.Acquire(t.Context(), &admit.Ask{Rates: rates, Budgets: []admit.BudgetCharge{b}, Max: 2 * cent})
		require.Error(t, err)
		for _, c := range rates {
			left, _ := g.rates.State(c.LimitID, c.Kind, c.Limit)
			require.Equal(t, c.Limit, left, c.Kind.String())
		}
	})
}

func TestCancelKeepsTheRequestCountedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		b := g.budget("k", model.BudgetDef{Limit: unit.Dollar})
		rates := []admit.RateCharge{g.rate("k", admit.Requests, 10, 1), g.rate("k", admit.Tokens, 100, 50), g.rate("k", admit.Parallel, 5, 1)}
		r, err := g.Acquire(t.Context(), &admit.Ask{Rates: rates, Budgets: []admit.BudgetCharge{b}, Max: cent})
		require.NoError(t, err)
		require.Equal(t, cent, r.Granted())
		var buf [4]admit.RateState
		states := r.Rates(buf[:0])
		require.Len(t, states, 3)
		require.EqualValues(t, 9, states[0].Remaining)
		require.Equal(t, admit.Parallel, states[2].Kind)
		require.Equal(t, []int64{0}, r.Windows(nil))
		r.Cancel()
		r.Settle(1000, unit.Dollar)
		require.Equal(t, cent, r.Granted(), "an ended reservation can still be read")
		require.False(t, r.Grow(cent))
		want := []int64{9, 100, 5}
		for i, c := range rates {
			left, _ := g.rates.State(c.LimitID, c.Kind, c.Limit)
			require.Equal(t, want[i], left, c.Kind.String())
		}
		require.Zero(t, g.account.Reserved(b.Scope))
		r.Release()
	})
}

func TestTokenEstimateAboveTheLimitPassesAloneAndSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		ask := &admit.Ask{Rates: []admit.RateCharge{g.rate("k", admit.Tokens, 1000, 4096)}}
		r, err := g.Acquire(t.Context(), ask)
		require.NoError(t, err)
		_, err = g.Acquire(t.Context(), ask)
		require.Error(t, err)
		r.Settle(200, 0)
		left, _ := g.rates.State(ask.Rates[0].LimitID, admit.Tokens, 1000)
		require.EqualValues(t, 800, left)
	})
}

func TestClampedCallLearnsWhatItMayCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		b := g.budget("k", model.BudgetDef{Limit: 50 * cent})
		ask := &admit.Ask{Budgets: []admit.BudgetCharge{b}, Max: unit.Dollar, Min: cent, Clamp: true}
		r, err := g.Acquire(t.Context(), ask)
		require.NoError(t, err)
		require.Equal(t, 50*cent, r.Granted())
		r.Settle(0, 20*cent)
		ask.Clamp = false
		_, err = g.Acquire(t.Context(), ask)
		require.Error(t, err, "a call that states its maximum is refused when it does not fit")
	})
}

func TestGrowWithoutBudgetsAlwaysSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := open(t)
		defer stop()
		r, err := g.Acquire(t.Context(), &admit.Ask{Max: cent})
		require.NoError(t, err)
		require.True(t, r.Grow(cent))
		require.Equal(t, 2*cent, r.Granted())
		r.Settle(1, 5*cent)
	})
}

func TestPropNothingStaysReservedAfterAnyMix(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(rt, "steps")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			g, stop := open(t)
			defer stop()
			budgets := []admit.BudgetCharge{
				g.budget("big", model.BudgetDef{Limit: 100 * unit.Dollar}),
				g.budget("small", model.BudgetDef{Limit: 20 * cent}),
				g.budget("hour", model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "m"}}),
				g.budget("soft", model.BudgetDef{Limit: unit.Dollar, Soft: true}),
			}
			parallel := g.rate("k", admit.Parallel, 8, 1)
			var wg sync.WaitGroup
			for _, op := range steps {
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
				m := unit.Money(rng.IntN(int(15 * cent)))
				ask := &admit.Ask{Rates: []admit.RateCharge{parallel, g.rate("k", admit.Requests, 30, 1), g.rate("k", admit.Tokens, 5000, 300)},
					Budgets: budgets[:1+rng.IntN(4)], Max: m, Clamp: op == 0, Min: m / 10}
				pause := time.Duration(rng.IntN(3000)) * time.Millisecond
				more := unit.Money(rng.IntN(int(cent)))
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), pause+time.Millisecond)
					defer cancel()
					r, err := g.Acquire(ctx, ask)
					if err != nil {
						return
					}
					time.Sleep(pause)
					switch op {
					case 1:
						r.Cancel()
					case 2:
						r.Grow(more)
						r.Settle(100, r.Granted())
					case 3:
						r.Settle(500, r.Granted()+more) // costs more than reserved
					default:
						r.Settle(100, r.Granted()/2)
					}
					r.Settle(1, 1)
					r.Release()
				})
			}
			wg.Wait()
			for _, b := range budgets {
				require.Zero(t, g.account.Reserved(b.Scope), b.Scope.ID)
			}
			left, _ := g.rates.State(parallel.LimitID, admit.Parallel, 8)
			require.EqualValues(t, 8, left)
		})
	})
}

func TestLearnedSizeCoversNineteenOfTwenty(t *testing.T) {
	g := admit.New(rate.New(rate.Config{}), nil)
	require.Positive(t, g.Learned("k", "gpt"))
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(mean float64) int64 { return int64(math.Exp(rng.NormFloat64()*0.8 + math.Log(mean))) }
	for _, mean := range []float64{300, 3000, 100} { // the sizes change, the estimate follows
		for range 2000 {
			g.Learn("k", "gpt", draw(mean))
		}
		under, n := 0, 4000
		for range n {
			x := draw(mean)
			if x <= g.Learned("k", "gpt") {
				under++
			}
			g.Learn("k", "gpt", x)
		}
		require.InDelta(t, 0.95, float64(under)/float64(n), 0.02, "mean %v", mean)
	}
	require.Greater(t, g.Learned("other", "gpt"), int64(1), "an unknown key starts with what its group does")
}

func TestLearnedIsBounded(t *testing.T) {
	g := admit.New(rate.New(rate.Config{}), nil)
	id := make([]byte, 8)
	for i := range 400_000 {
		for j := range id {
			id[j] = byte(i >> (4 * j) & 0xf)
		}
		g.Learn(string(id), "m", int64(i))
	}
	require.Positive(t, g.Learned("x", "m"))
}
