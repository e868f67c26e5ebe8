package admin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
	"tollgate/proxy/refusal"
)

// Limits answers what rate limits have left.
type Limits interface {
	// Look fills in what the limits have left, over the cluster as far as it can
	// be known in time.
	Look(ctx context.Context, limits []admit.RateState)
}

// live is what an answer shows of all nodes together. The handler of a read runs
// twice: first to find out what it needs, then, when that has been asked for in
// one go, to show it.
type live struct {
	asking bool
	write  bool // limits are not looked up: a write waits for one answer, not for two
	asked  []Spending
	spent  map[Spending]unit.Money
	limits []admit.RateState
	left   map[limitKey]admit.RateState
}

type limitKey struct {
	scope model.Scope
	kind  admit.Kind
}

// lookWithin bounds how long other nodes are waited for.
const lookWithin = time.Second

// read runs the handler of a read.
func (c *call) read(h handler) *refusal.Refusal { return c.shownLive(&live{}, h) }

// okLive answers a write with what build makes of the state after it, with the
// spend of all nodes.
func (c *call) okLive(build func() any) *refusal.Refusal {
	return c.shownLive(&live{write: true}, func(c *call) *refusal.Refusal { return c.ok(build()) })
}

func (c *call) shownLive(l *live, h handler) *refusal.Refusal {
	l.asking, l.spent, l.left = true, map[Spending]unit.Money{}, map[limitKey]admit.RateState{}
	c.live = l
	defer func() { c.live = nil }()
	if r := h(c); r != nil || len(l.asked)+len(l.limits) == 0 {
		return r
	}
	l.asking = false
	ctx, end := context.WithTimeout(context.Background(), lookWithin)
	defer end()
	if len(l.asked) > 0 {
		sums, away := c.a.Spend.Everywhere(ctx, l.asked)
		for i, q := range l.asked {
			l.spent[q] = sums[i]
		}
		c.without(away)
	}
	if len(l.limits) > 0 && c.a.Limits != nil {
		c.a.Limits.Look(ctx, l.limits)
	}
	for _, s := range l.limits {
		l.left[limitKey{s.Scope, s.Kind}] = s
	}
	return h(c)
}

// shownSpent is what a scope has spent on all nodes, or as this one knows it
// where an answer does not wait for the others: of objects that were just made.
func (c *call) shownSpent(sc model.Scope, since time.Time) unit.Money {
	l := c.live
	if l == nil {
		return c.a.Spend.Spent(sc, since)
	}
	q := Spending{sc, since}
	m, known := l.spent[q]
	if !known && l.asking {
		l.spent[q] = 0
		l.asked = append(l.asked, q)
	}
	return m
}

// countedSpent is what a scope has spent on all nodes, for a write that counts
// from it.
func (c *call) countedSpent(sc model.Scope, since time.Time) unit.Money {
	q := Spending{sc, since}
	if _, known := c.counted[q]; !known {
		c.count(q)
	}
	return c.counted[q]
}

// count asks all nodes in one go for what scopes have spent.
func (c *call) count(asked ...Spending) {
	ctx, end := context.WithTimeout(c.background(), lookWithin)
	defer end()
	sums, away := c.a.Spend.Everywhere(ctx, asked)
	if c.counted == nil {
		c.counted = map[Spending]unit.Money{}
	}
	for i, q := range asked {
		c.counted[q] = sums[i]
	}
	c.without(away)
}

// without names the nodes that an answer lacks.
func (c *call) without(away []string) {
	if len(away) > 0 {
		c.ctx.Response.Header.Set("X-Spend-Without", strings.Join(away, ","))
	}
}

// limitView is one rate limit with what it has left.
type limitView struct {
	Scope     string  `json:"scope"`
	ID        string  `json:"id"`
	Kind      string  `json:"limit_type"`
	Limit     int64   `json:"limit"`
	Remaining int64   `json:"remaining"`
	Reset     float64 `json:"reset_seconds"` // until all of it is free again
}

// limitsView shows what the limits of a scope have left. Only reads show it.
func (c *call) limitsView(sc model.Scope, limits *model.Limits) []limitView {
	l := c.live
	if l == nil || l.write || c.a.Limits == nil {
		return nil
	}
	var out []limitView
	for _, x := range []struct {
		kind  admit.Kind
		limit *int64
	}{{admit.Requests, limits.RPM}, {admit.Tokens, limits.TPM}, {admit.Parallel, limits.Parallel}} {
		if x.limit == nil {
			continue
		}
		s := admit.RateState{Scope: sc, Kind: x.kind, Limit: *x.limit}
		if l.asking {
			l.limits = append(l.limits, s)
		} else {
			s = l.left[limitKey{sc, x.kind}]
		}
		out = append(out, limitView{sc.Dim.String(), strings.ReplaceAll(sc.ID, "\x1f", ":"), x.kind.String(), *x.limit, max(s.Remaining, 0), s.Reset.Seconds()})
	}
	return out
}

// rowLimits shows the limits that a scope has by a budget row.
func (c *call) rowLimits(s *state.Snapshot, sc model.Scope, row string) []limitView {
	b, ok := s.Budgets.Get(row)
	if !ok {
		return nil
	}
	return c.limitsView(sc, &b.Limits)
}

// partLimits shows the limits of an owner per model group.
func (c *call) partLimits(dim model.Dim, owner string, rpm, tpm map[string]int64) []limitView {
	var out []limitView
	groups := map[string]bool{}
	for _, m := range []map[string]int64{rpm, tpm} {
		for g := range m {
			groups[g] = true
		}
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		var l model.Limits
		if v, ok := rpm[g]; ok {
			l.RPM = &v
		}
		if v, ok := tpm[g]; ok {
			l.TPM = &v
		}
		out = append(out, c.limitsView(model.ModelScope(dim, owner, g), &l)...)
	}
	return out
}

func (c *call) keyLimits(s *state.Snapshot, k *model.Key) []limitView {
	l := k.Limits
	if b, ok := s.Budgets.Get(k.BudgetID); ok { // the row fills what the key leaves open
		for _, x := range []struct{ own, row **int64 }{{&l.RPM, &b.RPM}, {&l.TPM, &b.TPM}, {&l.Parallel, &b.Parallel}} {
			if *x.own == nil {
				*x.own = *x.row
			}
		}
	}
	return append(c.limitsView(keyScope(k.Hash), &l), c.partLimits(model.DimModelPerKey, k.Hash, k.ModelRPM, k.ModelTPM)...)
}

func (c *call) teamLimits(t *model.Team) []limitView {
	return append(c.limitsView(teamScope(t.ID), &t.Limits), c.partLimits(model.DimModelPerTeam, t.ID, t.ModelRPM, t.ModelTPM)...)
}

func (c *call) organizationLimits(s *state.Snapshot, o *model.Organization) []limitView {
	return append(c.rowLimits(s, orgScope(o.ID), o.BudgetID), c.partLimits(model.DimModelPerOrg, o.ID, o.ModelRPM, o.ModelTPM)...)
}
