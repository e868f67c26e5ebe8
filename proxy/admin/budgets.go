package admin

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// budgetRow is a budget as the API shows it.
type budgetRow struct {
	ID             string                     `json:"budget_id"`
	MaxBudget      *float64                   `json:"max_budget"`
	SoftBudget     *float64                   `json:"soft_budget"`
	MaxParallel    *int64                     `json:"max_parallel_requests"`
	TPM            *int64                     `json:"tpm_limit"`
	RPM            *int64                     `json:"rpm_limit"`
	ModelMaxBudget map[string]modelBudgetView `json:"model_max_budget"`
	BudgetDuration *string                    `json:"budget_duration"`
	BudgetResetAt  *time.Time                 `json:"budget_reset_at"`
	BudgetMode     string                     `json:"budget_mode,omitempty"`
	AllowedModels  []string                   `json:"allowed_models"`
	CreatedAt      *time.Time                 `json:"created_at"`
	CreatedBy      *string                    `json:"created_by"`
	UpdatedAt      *time.Time                 `json:"updated_at"`
	UpdatedBy      *string                    `json:"updated_by"`
}

func (c *call) budgetRow(s *state.Snapshot, b *model.Budget) budgetRow {
	return budgetRow{
		ID: b.ID, MaxBudget: usd(b.MaxBudget), SoftBudget: usd(b.SoftBudget), MaxParallel: b.Parallel, TPM: b.TPM, RPM: b.RPM,
		ModelMaxBudget: modelBudgetsView(b.ModelMaxBudget), BudgetDuration: optional(b.BudgetDuration), BudgetMode: b.BudgetMode,
		BudgetResetAt: c.resetAt(s, b.BudgetDuration, b.CreatedAt), AllowedModels: b.AllowedModels,
		CreatedAt: moment(b.CreatedAt), CreatedBy: optional(b.CreatedBy), UpdatedAt: moment(b.UpdatedAt), UpdatedBy: optional(b.UpdatedBy),
	}
}

// budgetFields are the fields of a budget row in a request.
type budgetFields struct {
	limitFields
	spendingFields
	modelMax field[map[string]model.ModelBudget]
	models   field[[]string]
}

func readBudget(f *form) budgetFields {
	return budgetFields{readLimits(f), readSpending(f), f.modelBudgets("model_max_budget"), f.strs("allowed_models")}
}

func (x *budgetFields) into(b *model.Budget) {
	x.limitFields.into(&b.Limits)
	x.spendingFields.into(&b.Spending)
	x.modelMax.into(&b.ModelMaxBudget)
	x.models.into(&b.AllowedModels)
}

// any reports whether a field asks for a budget row.
func (x *budgetFields) any() bool {
	return x.limitFields.any() || x.spendingFields.any() || x.modelMax.set || len(x.models.v) > 0
}

// given reports whether a field changes a budget row.
func (x *budgetFields) given() bool {
	return x.limitFields.given() || x.spendingFields.given() || x.modelMax.given || x.models.given
}

func (c *call) newBudget(id string, x *budgetFields) *model.Budget {
	b := &model.Budget{ID: id}
	c.born(&b.Meta)
	x.into(b)
	return b
}

func budgetNew(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("budget_id"), readBudget(f)
	f.resetAt()
	if f.wrong() {
		return c.refuseForm(f)
	}
	if id.v == "" {
		if id.v, r = c.newID(); r != nil {
			return r
		}
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if _, ok := s.Budgets.Get(id.v); ok {
			return nil, badRequest("budget_id", "Budget with budget_id=%s already exists. Change it with /budget/update.", id.v)
		}
		return []model.Change{put(model.Budgets, c.newBudget(id.v, &x))}, nil
	})
	if r != nil {
		return r
	}
	return c.showBudget(id.v)
}

// resetAt checks budget_reset_at, which is accepted and follows from the
// duration: windows keep to the calendar.
func (f *form) resetAt() {
	if at := f.str("budget_reset_at"); at.set {
		if _, ok := parseMoment(at.v); !ok {
			f.fault("budget_reset_at", "datetime_parsing", "Input should be a valid datetime")
		}
	}
}

func (c *call) showBudget(id string) *refusal.Refusal {
	b, ok := c.s.Budgets.Get(id)
	if !ok {
		return noSuchBudget(id)
	}
	return c.ok(c.budgetRow(c.s, b))
}

func noSuchBudget(id string) *refusal.Refusal {
	return notFound("budget_id", "Budget with budget_id=%s does not exist.", id)
}

func budgetUpdate(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id, x := f.id("budget_id"), readBudget(f)
	f.require("budget_id", id.v != "")
	f.resetAt()
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Budgets.Get(id.v)
		if !ok {
			return nil, noSuchBudget(id.v)
		}
		b := *old
		x.into(&b)
		c.touched(&b.Meta)
		return []model.Change{put(model.Budgets, &b)}, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.showBudget(id.v)
}

func budgetInfo(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	ids := f.strs("budgets")
	f.require("budgets", ids.set)
	if f.wrong() {
		return c.refuseForm(f)
	}
	rows := []budgetRow{}
	for _, id := range ids.v {
		if b, ok := c.s.Budgets.Get(id); ok {
			rows = append(rows, c.budgetRow(c.s, b))
		}
	}
	return c.ok(rows)
}

func budgetList(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	rows := []budgetRow{}
	for _, b := range c.s.Budgets.Sorted() {
		rows = append(rows, c.budgetRow(c.s, b))
	}
	return c.ok(rows)
}

// budgetSetting is one field of a budget as the console's form wants it.
type budgetSetting struct {
	Name        string `json:"field_name"`
	Type        string `json:"field_type"`
	Description string `json:"field_description"`
	Value       any    `json:"field_value"`
	Stored      bool   `json:"stored_in_db"`
	Default     any    `json:"field_default_value"`
}

func budgetSettings(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	id := c.query("budget_id")
	b, ok := c.s.Budgets.Get(id)
	if !ok {
		return noSuchBudget(id)
	}
	row := c.budgetRow(c.s, b)
	return c.ok([]budgetSetting{
		{"max_parallel_requests", "Integer", "Requests that may run at once.", row.MaxParallel, row.MaxParallel != nil, nil},
		{"tpm_limit", "Integer", "Tokens per minute.", row.TPM, row.TPM != nil, nil},
		{"rpm_limit", "Integer", "Requests per minute.", row.RPM, row.RPM != nil, nil},
		{"max_budget", "Float", "Dollars that may be spent in one window.", row.MaxBudget, row.MaxBudget != nil, nil},
		{"soft_budget", "Float", "Dollars at which an alert is due; calls go on.", row.SoftBudget, row.SoftBudget != nil, nil},
		{"budget_duration", "String", "Length of a window: 30s, 24h, 7d, 1mo.", row.BudgetDuration, row.BudgetDuration != nil, nil},
	})
}

// mostReferences bounds the objects that one deletion may have to change.
const mostReferences = 2000

// budgetDelete removes a budget row and takes it off all that point at it, as
// the foreign keys of LiteLLM's tables do.
func budgetDelete(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id := f.str("id")
	f.require("id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	var row budgetRow
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b, ok := s.Budgets.Get(id.v)
		if !ok {
			return nil, noSuchBudget(id.v)
		}
		row = c.budgetRow(s, b)
		changes := append(detachBudget(s, id.v), remove(model.Budgets, b))
		if len(changes) > mostReferences {
			return nil, badRequest("id", "Budget %s is used by %d keys, members, teams, organizations, tags and customers. Move them to another budget first.", id.v, len(changes)-1)
		}
		return changes, nil
	})
	if r != nil {
		return r
	}
	if c.repeated {
		row.ID = id.v
	}
	c.spread()
	return c.ok(row)
}

// detachBudget makes everything forget a budget row.
func detachBudget(s *state.Snapshot, id string) []model.Change {
	var changes []model.Change
	for _, k := range s.Keys.All() {
		if k.BudgetID == id {
			n := *k
			n.BudgetID = ""
			changes = append(changes, put(model.Keys, &n))
		}
	}
	for _, m := range s.Members.All() {
		if m.BudgetID == id {
			n := *m
			n.BudgetID = ""
			changes = append(changes, put(model.Members, &n))
		}
	}
	for _, e := range s.EndUsers.All() {
		if e.BudgetID == id {
			n := *e
			n.BudgetID = ""
			changes = append(changes, put(model.EndUsers, &n))
		}
	}
	for _, t := range s.Teams.All() {
		if t.MemberBudgetID == id {
			n := *t
			n.MemberBudgetID = ""
			changes = append(changes, put(model.Teams, &n))
		}
	}
	return append(changes, detachLevels(s, id)...)
}
