package admin

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// ownedBudget keeps the limits of one object in a budget row of its own, made
// when it is first needed. current is the row it points at, references how many
// things of its own do. A row that others use too is left as it is: a change for
// one is not one for all.
func (c *call) ownedBudget(s *state.Snapshot, current string, references int, x *budgetFields) (id string, changes []model.Change, r *refusal.Refusal) {
	if !x.any() && (current == "" || !x.given()) {
		return current, nil, nil
	}
	old, has := s.Budgets.Get(current)
	if has && len(detachBudget(s, current)) <= references {
		b := *old
		x.into(&b)
		c.touched(&b.Meta)
		return current, []model.Change{put(model.Budgets, &b)}, nil
	}
	if id, r = c.newID(); r != nil {
		return "", nil, r
	}
	b := c.newBudget(id, x)
	if has { // keep what the call does not change
		limits := *old
		limits.ID, limits.Meta = b.ID, b.Meta
		x.into(&limits)
		b = &limits
	}
	return id, []model.Change{put(model.Budgets, b)}, nil
}

// detachLevels makes organizations, their members and tags forget a budget row.
func detachLevels(s *state.Snapshot, id string) []model.Change {
	var changes []model.Change
	for _, o := range s.Organizations.All() {
		if o.BudgetID == id {
			n := *o
			n.BudgetID = ""
			changes = append(changes, put(model.Organizations, &n))
		}
	}
	for _, m := range s.OrgMembers.All() {
		if m.BudgetID == id {
			n := *m
			n.BudgetID = ""
			changes = append(changes, put(model.OrgMembers, &n))
		}
	}
	for _, t := range s.Tags.All() {
		if t.BudgetID == id {
			n := *t
			n.BudgetID = ""
			changes = append(changes, put(model.Tags, &n))
		}
	}
	return changes
}

// budgetTable shows the row that something points at; nil when there is none.
// Windows that no calendar fixes count from when their owner was made.
func (c *call) budgetTable(s *state.Snapshot, id string, made time.Time) *budgetRow {
	b, ok := s.Budgets.Get(id)
	if !ok {
		return nil
	}
	row := c.budgetRow(s, b)
	row.BudgetResetAt = c.resetAt(s, b.BudgetDuration, made)
	return &row
}
