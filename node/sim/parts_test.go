// Package sim_test holds whole clusters in virtual time: raft, gossip, budgets
// and the management API of several nodes over a simulated network, with minutes
// of faults in a moment. Sockets, TLS and disks have tests elsewhere.
package sim_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/ledger/once"
	"tollgate/limiter/budget"
)

// parts are the state machines of one node, joined as a real node joins them.
type parts struct {
	store   *state.Store
	applier *state.Applier
	bank    *budget.Bank
	claims  *once.Claims // nil on a node of a release that does not know them
	ahead   atomic.Pointer[state.Snapshot]
}

func newParts(box *secret.Box) *parts {
	p := &parts{}
	p.store = state.NewStore(func(s *state.Snapshot) *state.Routing {
		r := &state.Routing{Config: &model.Config{}, Location: time.UTC}
		if v := s.ActiveConfig(); v != nil {
			r.Version, r.Config = v.Number, &v.Config
			if box != nil {
				cfg, errs := box.OpenConfig(&v.Config)
				r.Config = cfg
				for _, err := range errs {
					r.Warnings = append(r.Warnings, err.Error())
				}
			}
		}
		return r
	})
	p.applier = state.NewApplier(p.store)
	p.bank = budget.NewBank(
		func(sc model.Scope) (model.BudgetDef, bool) { return p.newest().BudgetOf(sc) },
		func() *time.Location { return time.UTC },
	)
	p.applier.OnChange(func(a state.Applied) {
		now, changes := a.New, a.Changes
		p.ahead.Store(now)
		var made, gone []model.Scope
		for _, c := range changes {
			for _, sc := range scopes(now, c) {
				if _, ok := now.BudgetOf(sc); ok {
					made = append(made, sc)
				} else {
					gone = append(gone, sc)
				}
			}
		}
		if len(made) > 0 {
			p.bank.Open(now.Now, made...)
		}
		if len(gone) > 0 {
			p.bank.Drop(now.Now, gone...)
		}
	})
	return p
}

// newest is what is published, or within a batch what is ahead of it.
func (p *parts) newest() *state.Snapshot {
	s := p.store.State()
	if n := p.ahead.Load(); n != nil && n.Index > s.Index {
		return n
	}
	return s
}

func (p *parts) appliers() map[command.Type]fsm.Applier {
	all := map[command.Type]fsm.Applier{command.Mutation: p.applier, command.BudgetBatch: bankApplier{p.bank}}
	if p.claims != nil {
		all[command.Claims] = p.claims
	}
	return all
}

func scopes(s *state.Snapshot, c model.Change) []model.Scope {
	switch c.Table {
	case model.Keys:
		out := []model.Scope{{Dim: model.DimKey, ID: c.ID}}
		if k, ok := s.Keys.Get(c.ID); ok {
			for _, group := range slices.Sorted(maps.Keys(k.ModelMaxBudget)) {
				out = append(out, model.Scope{Dim: model.DimModelPerKey, ID: c.ID + "\x1f" + group})
			}
		}
		return out
	case model.Users:
		return []model.Scope{{Dim: model.DimUser, ID: c.ID}}
	case model.Teams:
		return []model.Scope{{Dim: model.DimTeam, ID: c.ID}}
	}
	return nil
}

// bankApplier proves a snapshot on a bank beside the real one.
type bankApplier struct{ *budget.Bank }

func (b bankApplier) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	type record struct {
		kind byte
		data []byte
	}
	var kept []record
	for kind, data := range records {
		kept = append(kept, record{kind, slices.Clone(data)})
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
		if err := b.Bank.Restore(all); err != nil {
			panic(fmt.Sprintf("restore the budget bank: %v", err))
		}
	}, nil
}
