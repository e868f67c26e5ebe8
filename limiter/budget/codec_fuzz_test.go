package budget_test

import (
	"bytes"
	"testing"

	"tollgate/limiter/budget"
)

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range commands() {
		f.Add(budget.AppendCommand(nil, c))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		w := propWorld()
		c, err := budget.DecodeCommand(p)
		if err != nil {
			return
		}
		q := budget.AppendCommand(nil, c)
		d, err := budget.DecodeCommand(q)
		if err != nil {
			t.Fatalf("own form is not readable: %v", err)
		}
		if !bytes.Equal(q, budget.AppendCommand(nil, d)) {
			t.Fatal("form is not stable")
		}
		w.bank.Do(epoch, c)
		if err := propWorld().bank.Restore(w.bank.Snapshot()); err != nil {
			t.Fatalf("snapshot after %x: %v", p, err)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(budget.AppendAnswer(nil, &budget.Answer{Grants: []budget.Grant{{Scope: scope("k"), Window: 5, Free: -1, Tight: true}}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, err := budget.DecodeAnswer(p)
		if err != nil {
			return
		}
		if _, err := budget.DecodeAnswer(budget.AppendAnswer(nil, a)); err != nil {
			t.Fatalf("own form is not readable: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	w := propWorld()
	register(w, 1, "a", "b")
	w.bank.Open(epoch, scope("0"), scope("1"))
	for k, d := range w.bank.Snapshot() {
		f.Add(k, d)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		w := propWorld()
		if w.bank.Restore(func(yield func(byte, []byte) bool) { yield(kind, data) }) != nil {
			return
		}
		for _, c := range commands() { // what was restored must be usable
			w.bank.Do(epoch, c)
		}
		if err := propWorld().bank.Restore(w.bank.Snapshot()); err != nil {
			t.Fatal(err)
		}
	})
}
