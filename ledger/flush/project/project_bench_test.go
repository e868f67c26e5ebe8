package project_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
)

// BenchmarkFirstProjection writes 100,000 keys into an empty database, then
// finds one change among them, and tells the memory that it took at most.
func BenchmarkFirstProjection(b *testing.B) {
	const keys = 100_000
	for b.Loop() {
		w := newWorld(b)
		s := state.NewBuilder(nil)
		for i := range keys {
			k := &model.Key{Meta: model.Meta{CreatedIndex: 1, Version: 1, CreatedAt: born, UpdatedAt: born}, Hash: hash(fmt.Sprint("sk-", i)), Alias: fmt.Sprint("key ", i),
				UserID: fmt.Sprint("user-", i%5000), TeamID: fmt.Sprint("team-", i%100), Models: []string{"gpt", "claude"},
				Spending: model.Spending{MaxBudget: usd(float64(i)), BudgetDuration: "30d"}, Metadata: json.RawMessage(`{"department":"research","cost centre":"4711"}`)}
			s.Put(k)
		}
		snap := s.Snapshot()
		snap.Index = 1
		w.store.Publish(snap)
		w.applier = state.NewApplier(w.store)
		w.index = 1
		p := w.projector("c1")
		stop := make(chan uint64)
		go func() { // the most memory in use at any time
			var most uint64
			var m runtime.MemStats
			for {
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
				select {
				case stop <- most:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		start := time.Now()
		w.must(p.Sync(context.Background()))
		b.ReportMetric(time.Since(start).Seconds(), "s/first")
		b.ReportMetric(float64(<-stop-m.HeapInuse)/1e6, "MB-more")
		start = time.Now()
		w.must(p.Sync(context.Background()))
		b.ReportMetric(time.Since(start).Seconds(), "s/compare")
		w.wants(fmt.Sprint(keys), `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
	}
}
