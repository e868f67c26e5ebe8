package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// measureKeys holds a million keys with limits and budgets in a snapshot of the
// state, as a node does, and prints what they take.
func measureKeys(_ *stage, _ options) error {
	const keys = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := state.NewBuilder(nil)
	batch := make([]model.Entity, 0, 10_000)
	for i := range keys {
		sum := sha256.Sum256(fmt.Appendf(nil, "sk-%d", i))
		rpm, budget := int64(600), 100*unit.Dollar
		k := &model.Key{Hash: hex.EncodeToString(sum[:]), Name: "sk-...abcd", Alias: fmt.Sprintf("key-%d", i), UserID: fmt.Sprintf("user-%d", i/10), Models: []string{"gpt-4o"}}
		k.RPM, k.MaxBudget, k.BudgetDuration = &rpm, &budget, "30d"
		if batch = append(batch, k); len(batch) == cap(batch) {
			b.Put(batch...)
			batch = batch[:0]
		}
	}
	snap := b.Snapshot()
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Printf("memory   %d keys: %.2f GiB of heap, %d bytes a key (to reach: ≤ 1.5 GB)\n", snap.Keys.Len(),
		float64(after.HeapAlloc-before.HeapAlloc)/(1<<30), int(after.HeapAlloc-before.HeapAlloc)/keys)
	return nil
}
