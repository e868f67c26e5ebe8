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

func drawCommand(t *rapid.T) *budget.Command {
	node := budget.NodeID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node"))
	c := &budget.Command{Op: budget.Op(rapid.IntRange(1, 7).Draw(t, "op")), Node: node, Incarnation: rapid.Uint64Range(0, 3).Draw(t, "inc")}
	if rapid.IntRange(0, 3).Draw(t, "mostly batches") > 0 {
		c.Op = budget.OpBatch
	}
	money := rapid.Map(rapid.Int64Range(0, 120), func(n int64) unit.Money { return unit.Money(n) * cent })
	window := rapid.SampledFrom([]int64{budget.CurrentWindow, 0, epoch.Unix(), epoch.Unix() + 60, epoch.Unix() + 120})
	sc := rapid.Map(rapid.IntRange(0, 2), func(n int) model.Scope { return scope(fmt.Sprint(n)) })
	for range rapid.IntRange(1, 3).Draw(t, "n") {
		switch c.Op {
		case budget.OpBatch:
			c.Items = append(c.Items, budget.Item{Scope: sc.Draw(t, "scope"), Window: window.Draw(t, "window"),
				S: money.Draw(t, "s"), R: money.Draw(t, "r"), Want: money.Draw(t, "want"), Need: money.Draw(t, "need"), Least: money.Draw(t, "least") / 10,
				Call: money.Draw(t, "call") / 40, Exact: rapid.Bool().Draw(t, "exact")})
		case budget.OpClose:
			c.Final, c.WriteOff = rapid.Bool().Draw(t, "final"), rapid.Bool().Draw(t, "write off")
			c.Settled = append(c.Settled, budget.Settled{Incarnation: rapid.Uint64Range(0, 3).Draw(t, "of"), Scope: sc.Draw(t, "scope"),
				Window: window.Draw(t, "window"), S: money.Draw(t, "s")})
		case budget.OpOpen, budget.OpDrop:
			c.Scopes = append(c.Scopes, sc.Draw(t, "scope"))
		}
	}
	return c
}

func propWorld() *world {
	w := newWorld()
	w.set(scope("0"), model.BudgetDef{Limit: unit.Dollar})
	w.set(scope("1"), model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "m"}})
	w.set(scope("2"), model.BudgetDef{Limit: unit.Dollar, Window: unit.Window{N: 1, Unit: "m"}, Soft: true})
	return w
}

// Nodes in this test lie: they settle and return what they never had. What the
// bank hands out stays under the limit all the same, as far as it can know.
func TestPropOutstandingCreditNeverPassesTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := propWorld()
		at := epoch
		granted := map[string]unit.Money{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.Int64Range(-5, 40).Draw(t, "seconds")) * time.Second)
			c := drawCommand(t)
			ans := w.bank.Do(at, c)
			for _, g := range ans.Grants {
				if g.Unknown || g.Closed {
					continue
				}
				k := fmt.Sprint(c.Node, c.Incarnation, g.Scope, g.Window)
				if c.Op == budget.OpBatch && g.G < granted[k] {
					t.Fatalf("%s: a grant shrank from %s to %s", k, granted[k], g.G)
				}
				granted[k] = g.G
			}
			if c.Op == budget.OpDrop {
				clear(granted)
			}
			for i := range 3 {
				_, users, ok := w.bank.Explain(scope(fmt.Sprint(i)))
				if !ok {
					continue
				}
				out := unit.Money(0)
				for _, u := range users {
					out += u.Granted - u.Returned
				}
				if out > unit.Dollar {
					t.Fatalf("%s out of %s", out, unit.Dollar)
				}
			}
		}
	})
}

func TestPropSameLogGivesTheSameBytesAlsoThroughASnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := propWorld(), propWorld()
		at := epoch
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.Int64Range(0, 40).Draw(t, "seconds")) * time.Second)
			p := budget.AppendCommand(nil, drawCommand(t))
			x := a.bank.Apply(1, at, budget.Version, p).(*budget.Answer)
			y := b.bank.Apply(1, at, budget.Version, p).(*budget.Answer)
			if string(budget.AppendAnswer(nil, x)) != string(budget.AppendAnswer(nil, y)) {
				t.Fatalf("answers differ: %+v, %+v", x, y)
			}
			if rapid.IntRange(0, 5).Draw(t, "restore") == 0 {
				fresh := propWorld()
				if err := fresh.bank.Restore(b.bank.Snapshot()); err != nil {
					t.Fatal(err)
				}
				b = fresh
			}
			if string(dump(a.bank)) != string(dump(b.bank)) {
				t.Fatalf("states differ after %x", p)
			}
		}
	})
}

func TestPropBatchRepeatedChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := propWorld()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			c := drawCommand(t)
			w.bank.Do(epoch, c)
			if c.Op == budget.OpBatch || c.Op == budget.OpDrop {
				continue // a repeated ask may be granted more, never more than it wants
			}
			before := dump(w.bank)
			w.bank.Do(epoch, c)
			if string(before) != string(dump(w.bank)) {
				t.Fatalf("%+v is not the same the second time", c)
			}
		}
	})
}
