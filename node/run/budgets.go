package run

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"tollgate/cluster/fsm"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/limiter/budget"
)

// applied is the newest state that any goroutine may read: what is published,
// or within a batch of commands what the state machine is ahead of it.
type applied struct {
	store *state.Store
	ahead atomic.Pointer[state.Snapshot]
}

func (a *applied) State() *state.Snapshot {
	s := a.store.State()
	if n := a.ahead.Load(); n != nil && n.Index > s.Index {
		return n
	}
	return s
}

// newBank joins the budget bank to the state: definitions come from it, and a
// command that makes a budget opens its first window.
func newBank(a *applied, applier *state.Applier) *budget.Bank {
	bank := budget.NewBank(
		func(sc model.Scope) (model.BudgetDef, bool) { return a.State().BudgetOf(sc) },
		func() *time.Location { return location(a.State()) },
	)
	applier.OnChange(func(m state.Applied) {
		a.ahead.Store(m.New)
		made, gone := budgetScopes(m.Old, m.New, m.Changes)
		if len(made) > 0 {
			bank.Open(m.New.Now, made...)
		}
		if len(gone) > 0 {
			bank.Drop(m.New.Now, gone...)
		}
	})
	return bank
}

// location is the time zone of calendar windows, from the replicated settings.
func location(s *state.Snapshot) *time.Location {
	if v := s.ActiveConfig(); v != nil && v.Config.LiteLLM.Timezone != "" {
		if loc, err := time.LoadLocation(v.Config.LiteLLM.Timezone); err == nil {
			return loc
		}
	}
	return time.UTC
}

// bankApplier lets the state machine drive the bank. A snapshot is proven on a
// bank beside the real one before it replaces anything.
type bankApplier struct{ *budget.Bank }

var _ fsm.Applier = bankApplier{}

// Restore reads the records twice: to prove them, and once all is proven to
// take them over.
func (b bankApplier) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	type record struct {
		kind byte
		data []byte
	}
	var kept []record
	for kind, data := range records {
		kept = append(kept, record{kind, append([]byte(nil), data...)})
	}
	all := func(yield func(byte, []byte) bool) {
		for _, r := range kept {
			if !yield(r.kind, r.data) {
				return
			}
		}
	}
	proof := budget.NewBank(func(model.Scope) (model.BudgetDef, bool) { return model.BudgetDef{}, false }, nil)
	if err := proof.Restore(all); err != nil {
		return nil, err
	}
	return func() {
		if err := b.Bank.Restore(all); err != nil { // it was proven a moment ago
			panic(fmt.Sprintf("restore the budget bank: %v", err))
		}
	}, nil
}

var errNoAnswer = errors.New("the budget bank gave no answer")
