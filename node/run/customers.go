package run

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// customerMaker makes end users that calls have named and nobody has made, once
// they have cost something, as LiteLLM does. It looks at the ledger's sums now
// and then: no call waits for it.
type customerMaker struct {
	state  state.Getter
	spends func() map[string]unit.Money // by end user, on this node
	mutate func(ctx context.Context, changes []model.Change) (applied bool, err error)
	clock  unit.Clock
	failed func(error)
	seen   map[string]unit.Money
}

const (
	customersEvery = 5 * time.Second
	// mostCustomers bounds one look: a client that makes names up must not fill
	// the log that all nodes share.
	mostCustomers = 500
	// longestCustomer is the longest name that is kept as an end user.
	longestCustomer = 256
)

func (m *customerMaker) run(ctx context.Context) error {
	m.seen = m.spends() // what was spent before is no first spend
	t := time.NewTicker(customersEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			m.look(ctx)
		}
	}
}

// look makes those whose spend has grown. One that was deleted is made again by
// its next spend, not by its last.
func (m *customerMaker) look(ctx context.Context) {
	s := m.state.State()
	var changes []model.Change
	now := m.clock.Now().UTC()
	for id, spent := range m.spends() {
		if spent <= m.seen[id] {
			continue
		}
		if _, known := s.EndUsers.Get(id); !known && nameable(id) {
			if len(changes) == mostCustomers {
				continue // at the next look
			}
			e := &model.EndUser{ID: id}
			e.CreatedAt, e.UpdatedAt = now, now
			changes = append(changes, model.Put(model.EndUsers, e, model.Version(0)))
			continue
		}
		m.seen[id] = spent
	}
	if len(changes) == 0 {
		return
	}
	slices.SortFunc(changes, func(a, b model.Change) int { return cmp.Compare(a.ID, b.ID) })
	// Refused when another node has made one of them meanwhile: the rest follow
	// with the next look, which finds it.
	if _, err := m.mutate(ctx, changes); err != nil {
		m.failed(err)
	}
}

// nameable reports whether a name that a client chose may become an object's id.
func nameable(id string) bool {
	return id != "" && len(id) <= longestCustomer && !strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

// makesCustomers has end users made on their first spend.
func (n *node) makesCustomers(ctx context.Context) error {
	m := &customerMaker{
		state: n.store, clock: n.clock,
		spends: func() map[string]unit.Money { return n.ledger.Spends(model.DimEndUser) },
		mutate: func(ctx context.Context, changes []model.Change) (bool, error) {
			r, err := n.cluster.Mutate(ctx, model.Mutation{By: "tollgate", Changes: changes})
			return r.Conflict == nil, err
		},
		failed: func(err error) { n.log.Warn("end users not made", "error", err) },
	}
	return m.run(ctx)
}
