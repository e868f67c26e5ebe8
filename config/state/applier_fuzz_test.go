package state_test

import (
	"testing"

	"tollgate/config/state"
)

func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"id":"x","changes":[{"table":"key","id":"k","expect":0,"value":{"token":"k","rpm_limit":3}}]}`))
	f.Add([]byte(`{"changes":[{"table":"config","id":"00000000000000000001","value":{"number":1,"config":{"model_list":[]}}}]}`))
	f.Add([]byte(`{"changes":[{"table":"future","id":"k"}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m := newMachine(t, nil)
		m.Apply(1, start, state.MutationVersion, payload)
		first := m.records()
		twin := newMachine(t, nil)
		swap, err := twin.Restore(m.Snapshot())
		if err != nil {
			t.Fatalf("what was applied cannot be restored: %v", err)
		}
		swap()
		second := twin.records()
		if len(first) != len(second) {
			t.Fatalf("%d records became %d", len(first), len(second))
		}
		for i := range first {
			if first[i] != second[i] {
				t.Fatalf("record %d: %s became %s", i, first[i], second[i])
			}
		}
	})
}
