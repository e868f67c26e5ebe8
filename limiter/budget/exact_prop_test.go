package budget_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

// plain is one start of one node in one window, as plain sums.
type plain struct{ granted, settled, returned unit.Money }

// Honest nodes take grants, report, give back, crash, come back with what their
// ledgers hold, and are forgotten, over several windows. What the bank has of
// them is compared with plain sums after each step: not a bound, the amount.
// Nothing is granted to a window but by an answer, as calls are too dear here
// for standing shares.
func TestPropBankEqualsPlainSumsThroughCrashesResetsAndForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		k := scope("k")
		w.set(k, model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "m"}})
		at, names := epoch, []budget.NodeID{"a", "b", "c"}
		inc, gone := map[budget.NodeID]uint64{}, map[budget.NodeID]bool{}
		open := map[int64]map[budget.NodeID]*plain{} // of running starts, by window
		ended := map[int64]unit.Money{}              // settled by starts that have ended
		window := func() int64 { return at.Truncate(time.Minute).Unix() }
		of := func(win int64, n budget.NodeID) *plain {
			if open[win] == nil {
				open[win] = map[budget.NodeID]*plain{}
			}
			if open[win][n] == nil {
				open[win][n] = &plain{}
			}
			return open[win][n]
		}
		for _, n := range names {
			inc[n] = 1
			w.bank.Do(at, &budget.Command{Op: budget.OpRegister, Node: n, Incarnation: 1})
		}
		opens(w, k, at)
		report := func(n budget.NodeID, win int64, want, need unit.Money) {
			b := of(win, n)
			ans := w.bank.Do(at, &budget.Command{Op: budget.OpBatch, Node: n, Incarnation: inc[n], Items: []budget.Item{{
				Scope: k, Window: win, S: b.settled, R: b.returned, Want: b.granted + want, Need: need, Call: unit.Dollar, Exact: true}}})
			g := ans.Grants[0]
			if g.Window != window() || g.Closed || g.Unknown {
				t.Fatalf("%s in window %d was answered %+v", n, win, g)
			}
			if now := of(g.Window, n); win == g.Window {
				now.granted = g.G
			} else if g.G != now.granted {
				t.Fatalf("a report of window %d gave %s of window %d", win, g.G, g.Window)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.SampledFrom(names).Draw(t, "node")
			money := func(most unit.Money, what string) unit.Money {
				return unit.Money(rapid.Int64Range(0, int64(max(0, most))).Draw(t, what))
			}
			switch op := rapid.IntRange(0, 7).Draw(t, "op"); {
			case op == 7:
				at = at.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "seconds")) * time.Second)
			case gone[n] || op == 6: // a crash: the ledger has what was settled, reported or not
				c := &budget.Command{Op: budget.OpClose, Node: n, Incarnation: inc[n] + 1, Final: true}
				for win, by := range open {
					if b := by[n]; b != nil && !gone[n] {
						c.Settled = append(c.Settled, budget.Settled{Incarnation: inc[n], Scope: k, Window: win, S: b.settled})
						ended[win] += b.settled
						delete(by, n)
					}
				}
				w.bank.Do(at, c)
				inc[n]++
				gone[n] = false
				w.bank.Do(at, &budget.Command{Op: budget.OpRegister, Node: n, Incarnation: inc[n]})
			case op == 5: // given up by an operator, all reported: what it holds is spent
				for win := range open {
					report(n, win, 0, 0)
				}
				w.bank.Do(at, &budget.Command{Op: budget.OpForget, Node: n})
				for win, by := range open {
					if b := by[n]; b != nil {
						ended[win] += max(b.settled, b.granted-b.returned)
						delete(by, n)
					}
				}
				gone[n] = true
			default:
				b := of(window(), n)
				rest := b.granted - b.returned - b.settled
				b.settled += money(rest, "spent")
				b.returned += money(b.granted-b.returned-b.settled, "given back")
				need := money(40*cent, "need")
				report(n, window(), need, need)
			}
			compare(t, w, k, window(), at, inc, gone, open[window()], ended[window()])
		}
	})
}

func compare(t *rapid.T, w *world, k model.Scope, window int64, at time.Time, inc map[budget.NodeID]uint64, gone map[budget.NodeID]bool,
	open map[budget.NodeID]*plain, ended unit.Money) {
	opens(w, k, at)
	v, users, ok := w.bank.Explain(k)
	if !ok || v.Window != window {
		t.Fatalf("window %d is open, not %d", v.Window, window)
	}
	settled, taken := ended, ended
	for n, b := range open {
		if !gone[n] {
			settled, taken = settled+b.settled, taken+b.granted-b.returned
		}
	}
	reported := map[string]plain{}
	for _, u := range users {
		reported[fmt.Sprint(u.Node, u.Incarnation)] = plain{u.Granted, u.Settled, u.Returned}
	}
	for n, b := range open {
		if !gone[n] && reported[fmt.Sprint(n, inc[n])] != *b {
			t.Fatalf("%s: the bank has %+v, the sums are %+v", n, reported[fmt.Sprint(n, inc[n])], *b)
		}
	}
	if v.Settled != settled || v.Free != unit.Dollar-taken {
		t.Fatalf("settled %s, free %s; the sums are %s and %s", v.Settled, v.Free, settled, unit.Dollar-taken)
	}
}

// opens opens the window that holds now, by a stranger who gets nothing: its one
// dear call lets nobody have a standing share.
func opens(w *world, k model.Scope, at time.Time) {
	w.bank.Do(at, &budget.Command{Op: budget.OpBatch, Node: "stranger", Incarnation: 1,
		Items: []budget.Item{{Scope: k, Window: budget.CurrentWindow, Call: unit.Dollar}}})
}
