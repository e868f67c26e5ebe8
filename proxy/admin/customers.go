package admin

import (
	"cmp"
	"slices"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// customerRow is an end user as the API shows it.
type customerRow struct {
	ID            string      `json:"user_id"`
	Alias         *string     `json:"alias"`
	Spend         float64     `json:"spend"`
	Blocked       bool        `json:"blocked"`
	AllowedRegion *string     `json:"allowed_model_region"`
	DefaultModel  *string     `json:"default_model"`
	BudgetID      *string     `json:"budget_id"`
	Budget        *budgetRow  `json:"litellm_budget_table"`
	Limits        []limitView `json:"limits,omitempty"`
}

func endUserScope(id string) model.Scope { return model.Scope{Dim: model.DimEndUser, ID: id} }

func (c *call) customerRow(s *state.Snapshot, e *model.EndUser) customerRow {
	row := customerRow{ID: e.ID, Alias: optional(e.Alias), Spend: c.spent(s, endUserScope(e.ID), &e.Spending).USD(), Blocked: e.Blocked,
		AllowedRegion: optional(e.AllowedRegion), DefaultModel: optional(e.DefaultModel), BudgetID: optional(e.BudgetID)}
	id := e.BudgetID
	if id == "" {
		id = c.settings().LiteLLM.EndUserBudgetID
	}
	row.Budget, row.Limits = c.budgetTable(s, e.BudgetID, e.CreatedAt), c.rowLimits(s, endUserScope(e.ID), id)
	return row
}

// customerFields are the fields of an end user in a request. Limits and
// budgets live in a budget row, shared or its own.
type customerFields struct {
	budgetFields
	alias, budgetID, region, defaultModel field[string]
	blocked                               field[bool]
}

func readCustomer(f *form) customerFields {
	x := customerFields{budgetFields: readBudget(f), alias: f.str("alias"), budgetID: f.id("budget_id"),
		region: f.choice("allowed_model_region", "eu", "us"), defaultModel: f.str("default_model"), blocked: f.bool("blocked")}
	if x.budgetID.v != "" && x.budgetFields.any() {
		f.invalid("budget_id", "Set either 'max_budget' or 'budget_id', not both.")
	}
	return x
}

func (x *customerFields) into(e *model.EndUser) {
	x.alias.into(&e.Alias)
	x.budgetID.into(&e.BudgetID)
	x.region.into(&e.AllowedRegion)
	x.defaultModel.into(&e.DefaultModel)
	x.blocked.into(&e.Blocked)
}

func noSuchCustomer(id string) *refusal.Refusal {
	return refusal.New(404, "not_found", "end_user_id", "End User Id="+id+" does not exist in db").Lift()
}

// checkBudget refuses a budget id that names nothing.
func checkBudget(s *state.Snapshot, id string) *refusal.Refusal {
	if id == "" {
		return nil
	}
	if _, ok := s.Budgets.Get(id); !ok {
		return badRequest("budget_id", "Budget with budget_id=%s does not exist. Make it with /budget/new.", id)
	}
	return nil
}

func customerNew(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("user_id"), readCustomer(f)
	f.require("user_id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.EndUsers.Get(id.v); ok {
			return nil, badRequest("user_id", "Customer already exists, passed user_id=%s. Please pass a new user_id.", id.v)
		}
		if r := checkBudget(s, x.budgetID.v); r != nil {
			return nil, r
		}
		e := &model.EndUser{ID: id.v}
		c.born(&e.Meta)
		x.into(e)
		if x.spend.set {
			c.offsetSpend(s, model.Scope{Dim: model.DimEndUser, ID: e.ID}, &e.Spending, x.spend.v)
		}
		changes, r := c.customerBudget(s, e, &x)
		return append(changes, put(model.EndUsers, e)), r
	})
	if r != nil {
		return r
	}
	return c.showCustomer(id.v)
}

// customerBudget keeps a customer's own limits in a budget row that belongs to
// it alone, made when it is first needed. A row that others use too is left as
// it is: a change for one customer is not one for all.
func (c *call) customerBudget(s *state.Snapshot, e *model.EndUser, x *customerFields) ([]model.Change, *refusal.Refusal) {
	if !x.budgetFields.any() && (e.BudgetID == "" || !x.budgetFields.given()) {
		return nil, nil
	}
	if old, ok := s.Budgets.Get(e.BudgetID); ok && !budgetShared(s, e) {
		b := *old
		x.budgetFields.into(&b)
		c.touched(&b.Meta)
		return []model.Change{put(model.Budgets, &b)}, nil
	}
	id, r := c.newID()
	if r != nil {
		return nil, r
	}
	b := c.newBudget(id, &x.budgetFields)
	if old, ok := s.Budgets.Get(e.BudgetID); ok { // keep what the call does not change
		limits := *old
		limits.ID, limits.Meta = b.ID, b.Meta
		x.budgetFields.into(&limits)
		b = &limits
	}
	e.BudgetID = id
	return []model.Change{put(model.Budgets, b)}, nil
}

// budgetShared reports whether anything but e points at e's budget row.
func budgetShared(s *state.Snapshot, e *model.EndUser) bool {
	own := 0
	if have, ok := s.EndUsers.Get(e.ID); ok && have.BudgetID == e.BudgetID {
		own = 1
	}
	return len(detachBudget(s, e.BudgetID)) > own
}

func (c *call) showCustomer(id string) *refusal.Refusal {
	e, ok := c.s.EndUsers.Get(id)
	if !ok {
		return noSuchCustomer(id)
	}
	return c.ok(c.customerRow(c.s, e))
}

func customerInfo(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	return c.showCustomer(c.query("end_user_id"))
}

func customerList(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	rows := []customerRow{}
	for _, e := range c.s.EndUsers.All() {
		rows = append(rows, c.customerRow(c.s, e))
	}
	slices.SortFunc(rows, func(a, b customerRow) int { return cmp.Compare(a.ID, b.ID) })
	return c.ok(rows)
}

func customerUpdate(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("user_id"), readCustomer(f)
	f.require("user_id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.EndUsers.Get(id.v)
		if !ok {
			return nil, noSuchCustomer(id.v)
		}
		if r := checkBudget(s, x.budgetID.v); r != nil {
			return nil, r
		}
		e := *old
		x.into(&e)
		if x.spend.set {
			c.setSpend(s, endUserScope(e.ID), &e.Spending, x.spend.v)
		}
		c.touched(&e.Meta)
		changes, r := c.customerBudget(s, &e, &x)
		return append(changes, put(model.EndUsers, &e)), r
	})
	if r != nil {
		return r
	}
	c.spread()
	e, ok := c.s.EndUsers.Get(id.v)
	if !ok {
		return noSuchCustomer(id.v)
	}
	return c.okLive(func() any { return c.customerRow(c.s, e) })
}

func customerDelete(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	ids := f.strs("user_ids")
	f.require("user_ids", len(ids.v) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	n := 0
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		for _, id := range ids.v {
			e, ok := s.EndUsers.Get(id)
			if !ok {
				return nil, noSuchCustomer(id)
			}
			b.delete(model.EndUsers, e)
		}
		n = len(b.gone)
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	if c.repeated {
		n = len(distinct(ids.v))
	}
	c.spread()
	return c.ok(struct {
		Deleted int    `json:"deleted_customers"`
		Message string `json:"message"`
	}{n, "Successfully deleted customers with ids: " + joined(ids.v)})
}

// customerBlock blocks end users, or lets them in again. One that is unknown is
// made when it is blocked: its next call would have made it.
func customerBlock(blocked bool) handler {
	return func(c *call) *refusal.Refusal {
		if r := c.onlyAdmin(); r != nil {
			return r
		}
		f, r := c.form()
		if r != nil {
			return r
		}
		ids := f.strs("user_ids")
		f.require("user_ids", len(ids.v) > 0)
		for _, id := range ids.v {
			if why := badID(id); why != "" || id == "" {
				f.invalid("user_ids", cmp.Or(why, "an id may not be empty"))
			}
		}
		if f.wrong() {
			return c.refuseForm(f)
		}
		r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
			var changes []model.Change
			for _, id := range distinct(ids.v) {
				e := &model.EndUser{ID: id}
				if old, ok := s.EndUsers.Get(id); ok {
					copied := *old
					e = &copied
					c.touched(&e.Meta)
				} else if !blocked {
					continue
				} else {
					c.born(&e.Meta)
				}
				e.Blocked = blocked
				changes = append(changes, put(model.EndUsers, e))
			}
			return changes, nil
		})
		if r != nil {
			return r
		}
		c.spread()
		return c.okLive(func() any {
			rows := []customerRow{}
			for _, id := range distinct(ids.v) {
				if e, ok := c.s.EndUsers.Get(id); ok {
					rows = append(rows, c.customerRow(c.s, e))
				}
			}
			if blocked {
				return struct {
					Blocked []customerRow `json:"blocked_users"`
				}{rows}
			}
			return struct {
				Unblocked []customerRow `json:"unblocked_users"`
			}{rows}
		})
	}
}
