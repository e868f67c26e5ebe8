package admin

import (
	"context"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// lives has new objects whose id another one bore before begin with nothing spent,
// as they do in LiteLLM, where the sum goes with the row. The ledgers count by id
// and are never rewritten, and a node may still hold credit of the deleted object
// or tell late what calls of it have cost. So the new object's budgets begin with
// windows that no node has ever heard of, and the ledgers' sum of all time is
// taken off where it is shown.
//
// End users and tags are left out: calls make them, so that what was spent before
// somebody gave them a row is theirs.
func (c *call) lives(s *state.Snapshot, changes []model.Change) {
	if c.a.Anew != nil && !c.a.Anew() {
		return
	}
	var asked []model.Scope
	var at []int
	for i := range changes {
		ch := &changes[i]
		if ch.Value == nil || ch.Expect == nil || *ch.Expect != 0 || c.drawn[ch.ID] {
			continue
		}
		if dim, ok := lived[ch.Table]; ok {
			asked, at = append(asked, model.Scope{Dim: dim, ID: ch.ID}), append(at, i)
		}
	}
	known, away := c.before(asked)
	for n, b := range known {
		// A node that does not answer may hold what nobody else knows of.
		if b.Spent == 0 && b.Window < 0 && len(away) == 0 {
			continue
		}
		c.begin(s, &changes[at[n]], asked[n], b)
	}
}

// lived are the objects that are gone with all they have spent when they are
// deleted.
var lived = map[model.Table]model.Dim{
	model.Keys: model.DimKey, model.Users: model.DimUser, model.Teams: model.DimTeam, model.Members: model.DimMember,
	model.Organizations: model.DimOrganization, model.OrgMembers: model.DimOrgMember,
}

// begin rewrites the making of one object.
func (c *call) begin(s *state.Snapshot, ch *model.Change, sc model.Scope, b Before) {
	after := s.WithMissing([]model.Change{*ch})
	e, ok := after.Entity(ch.Table, ch.ID)
	if !ok {
		return // the state machine will say what is wrong with it
	}
	sp := model.SpendingOf(e)
	was := windowStart(c.window(after, sc, sp))
	sp.SpendFrom, sp.SpendBase = max(sp.SpendFrom, fresh(s, b)), b.Spent
	*ch = model.Put(ch.Table, e, model.Version(0))
	if sp.SpendOffset != 0 && sp.SpendOffsetWindow == was { // set as spent with the making
		sp.SpendOffsetWindow = windowStart(c.window(s.WithMissing([]model.Change{*ch}), sc, sp))
		*ch = model.Put(ch.Table, e, model.Version(0))
	}
}

// fresh is where a window begins that no node knows: later than all that have
// begun, by the clock by which they do.
func fresh(s *state.Snapshot, b Before) int64 { return max(s.Now.Unix(), b.Window, 0) + 1 }

// before asks all nodes once in a call for what they know of ids.
func (c *call) before(scopes []model.Scope) ([]Before, []string) {
	var ask []model.Scope
	for _, sc := range scopes {
		if _, known := c.former[sc]; !known {
			ask = append(ask, sc)
		}
	}
	if len(ask) > 0 {
		ctx, end := context.WithTimeout(c.background(), lookWithin)
		defer end()
		known, away := c.a.Spend.Before(ctx, ask)
		if c.former == nil {
			c.former = map[model.Scope]Before{}
		}
		for i, sc := range ask {
			c.former[sc] = known[i]
		}
		c.silent = append(c.silent, away...)
		c.without(away)
	}
	out := make([]Before, len(scopes))
	for i, sc := range scopes {
		out[i] = c.former[sc]
	}
	return out, c.silent
}

// reset makes the budget of a scope begin a window in which want is spent. It is
// for budgets that never reset and have not counted all that the ledgers have,
// because they are younger: taking the ledgers' sum off would raise their limit by
// what they have never counted.
func (c *call) reset(s *state.Snapshot, sc model.Scope, sp *model.Spending, want unit.Money) bool {
	def, ok := s.BudgetOf(sc)
	if !ok || !def.Window.Endless() || c.a.Anew != nil && !c.a.Anew() {
		return false
	}
	known, _ := c.before([]model.Scope{sc})
	if def.From != 0 || known[0].Counted == known[0].Spent {
		return false
	}
	sp.SpendFrom = fresh(s, known[0])
	sp.SpendOffset, sp.SpendOffsetWindow = want, sp.SpendFrom
	return true
}
