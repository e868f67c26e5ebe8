package budget_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

// TestABudgetMadeAgainOwesNothingAndHasNothing: its owner was deleted and made
// again under the same id. Nodes hold credit of the one before, have not told all
// that calls of it have cost, and have such calls in flight; one dies with them.
func TestABudgetMadeAgainOwesNothingAndHasNothing(t *testing.T) {
	day := unit.Window{N: 1, Unit: "d"}
	for _, every := range []unit.Window{{}, day} {
		for _, pause := range []time.Duration{0, 3 * time.Second, 5 * time.Minute} {
			t.Run(fmt.Sprintf("every %q, after %s", every.String(), pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					first := w.set(scope("k"), model.BudgetDef{Limit: unit.Dollar, Window: every})
					a, stopA := w.node(t, "a", 1, budget.Recovery{})
					defer stopA()
					b, stopB := w.node(t, "b", 1, budget.Recovery{})
					defer stopB()
					w.bank.Watch(func(n budget.Notice) { a.Observe(n); b.Observe(n) })
					w.bank.Open(time.Now(), first.Scope)
					var running []*budget.Hold
					for range 20 {
						h := reserve(t, a, cent, first)
						a.Settle(h, cent)
						running = append(running, reserve(t, b, cent, first))
					}
					_, old := running[0].Window(0)
					time.Sleep(2 * time.Second) // credit ahead of need has come
					a.Settle(reserve(t, a, 7*cent, first), 7*cent)

					w.mu.Lock()
					delete(w.defs, first.Scope)
					w.mu.Unlock()
					w.bank.Drop(time.Now(), first.Scope)
					time.Sleep(pause)
					again := w.set(first.Scope, model.BudgetDef{Limit: unit.Dollar, Window: every, From: time.Now().Unix() + 1})
					w.bank.Open(time.Now(), again.Scope)

					spent := unit.Money(0)
					for i := range 50 {
						n := []*budget.Account{a, b}[i%2]
						h := reserve(t, n, cent, again)
						_, window := h.Window(0)
						require.Greater(t, window, old)
						n.Settle(h, cent)
						spent += cent
					}
					for _, h := range running[:10] {
						b.Settle(h, cent) // of the one before
					}
					time.Sleep(12 * time.Second)
					v, ok := w.bank.Look(again.Scope, "", 0)
					require.True(t, ok)
					require.Equal(t, spent, v.Settled)

					// What the other node had in flight is charged at its next start.
					stopB()
					c, stopC := w.node(t, "b", 2, budget.Recovery{Settled: func(yield func(budget.Settled) bool) {
						_ = yield(budget.Settled{Incarnation: 1, Scope: first.Scope, Window: old, S: 20 * cent}) &&
							yield(budget.Settled{Incarnation: 1, Scope: first.Scope, Window: v.Window, S: 25 * cent})
					}})
					defer stopC()
					w.bank.Watch(func(n budget.Notice) { a.Observe(n); c.Observe(n) })
					for range 25 {
						a.Settle(reserve(t, a, cent, again), cent)
						c.Settle(reserve(t, c, cent, again), cent)
					}
					no := refused(t, a, cent, again)
					require.Equal(t, unit.Dollar, no.Spent, "all of the new one, and nothing else")
				})
			})
		}
	}
}
