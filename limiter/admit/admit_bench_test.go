package admit_test

import (
	"context"
	"fmt"
	"testing"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
)

func benchAsk(g *gate) *admit.Ask {
	ask := &admit.Ask{Max: cent}
	for i := range 8 {
		k := []admit.Kind{admit.Requests, admit.Tokens, admit.Parallel}[i%3]
		ask.Rates = append(ask.Rates, g.rate(fmt.Sprintf("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde%d", i), k, 1<<40, 1))
	}
	for i := range 4 {
		ask.Budgets = append(ask.Budgets, g.budget(fmt.Sprintf("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde%d", i),
			model.BudgetDef{Limit: 1 << 30 * unit.Dollar}))
	}
	return ask
}

func BenchmarkAdmitEightLimitsFourBudgets(b *testing.B) {
	g, stop := open(b)
	defer stop()
	ask := benchAsk(g)
	b.ReportAllocs()
	for b.Loop() {
		r, err := g.Acquire(context.Background(), ask)
		if err != nil {
			b.Fatal(err)
		}
		r.Settle(1, 1)
		r.Release()
	}
}

func BenchmarkAdmitParallel(b *testing.B) {
	g, stop := open(b)
	defer stop()
	ask := benchAsk(g)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := g.Acquire(context.Background(), ask)
			if err != nil {
				b.Fatal(err)
			}
			r.Settle(1, 1)
			r.Release()
		}
	})
}
