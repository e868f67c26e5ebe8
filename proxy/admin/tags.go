package admin

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// tagView is a tag as the API shows it.
type tagView struct {
	Name        string            `json:"name"`
	Description *string           `json:"description"`
	Models      []string          `json:"models"`
	ModelInfo   map[string]string `json:"model_info"` // model group by deployment id
	Spend       float64           `json:"spend"`
	BudgetID    *string           `json:"budget_id"`
	Budget      *budgetRow        `json:"litellm_budget_table"`
	BudgetMode  string            `json:"budget_mode,omitempty"`
	CreatedAt   *time.Time        `json:"created_at"`
	CreatedBy   *string           `json:"created_by"`
	UpdatedAt   *time.Time        `json:"updated_at"`
	Limits      []limitView       `json:"limits,omitempty"`
}

func tagScope(name string) model.Scope { return model.Scope{Dim: model.DimTag, ID: name} }

func (c *call) tagView(s *state.Snapshot, t *model.Tag) tagView {
	row := tagView{Name: t.Name, Description: optional(t.Description), Models: t.Models, ModelInfo: map[string]string{},
		Spend: c.spent(s, tagScope(t.Name), &t.Spending).USD(), BudgetID: optional(t.BudgetID), Budget: c.budgetTable(s, t.BudgetID, t.CreatedAt), BudgetMode: t.BudgetMode,
		CreatedAt: moment(t.CreatedAt), CreatedBy: optional(t.CreatedBy), UpdatedAt: moment(t.UpdatedAt), Limits: c.rowLimits(s, tagScope(t.Name), t.BudgetID)}
	if s.Routing != nil {
		for _, id := range t.Models {
			if d, ok := s.Routing.ByID[id]; ok {
				row.ModelInfo[id] = d.Group
			}
		}
	}
	return row
}

// tagFields are the fields of a tag in a request. Its limits and budget live in
// a budget row, shared or its own.
type tagFields struct {
	budgetFields
	description, budgetID field[string]
	models                field[[]string]
	info                  field[jsontext.Value]
}

func readTag(f *form) tagFields {
	x := tagFields{budgetFields: readBudget(f), description: f.str("description"), budgetID: f.id("budget_id"),
		models: f.strs("models"), info: f.object("model_info")}
	if x.budgetID.v != "" && x.budgetFields.any() {
		f.invalid("budget_id", "Set either 'max_budget' or 'budget_id', not both.")
	}
	return x
}

func (x *tagFields) into(t *model.Tag) {
	x.description.into(&t.Description)
	x.budgetID.into(&t.BudgetID)
	x.models.into(&t.Models)
	x.mode.into(&t.BudgetMode)
	intoRaw(x.info, &t.ModelInfo)
}

func noSuchTag(name string) *refusal.Refusal { return notFound("name", "Tag %s not found", name) }

// tagAnswer is LiteLLM's answer to a change of a tag.
type tagAnswer struct {
	Message string  `json:"message"`
	Tag     tagView `json:"tag"`
}

func tagNew(c *call) *refusal.Refusal {
	return c.writeTag("created", func(s *state.Snapshot, name string) (*model.Tag, int, *refusal.Refusal) {
		if _, ok := s.Tags.Get(name); ok {
			return nil, 0, badRequest("name", "Tag %s already exists", name)
		}
		t := &model.Tag{Name: name}
		c.born(&t.Meta)
		return t, 0, nil
	})
}

func tagUpdate(c *call) *refusal.Refusal {
	return c.writeTag("updated", func(s *state.Snapshot, name string) (*model.Tag, int, *refusal.Refusal) {
		old, ok := s.Tags.Get(name)
		if !ok {
			return nil, 0, noSuchTag(name)
		}
		t := *old
		c.touched(&t.Meta)
		return &t, 1, nil
	})
}

// writeTag makes or changes the tag that begin gives, with the number of
// references to its budget row that are its own.
func (c *call) writeTag(what string, begin func(s *state.Snapshot, name string) (*model.Tag, int, *refusal.Refusal)) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	name, x := f.id("name"), readTag(f)
	f.require("name", name.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		t, own, r := begin(s, name.v)
		if r != nil {
			return nil, r
		}
		if r := checkBudget(s, x.budgetID.v); r != nil {
			return nil, r
		}
		before := t.BudgetID
		x.into(t)
		row, changes, r := c.ownedBudget(s, t.BudgetID, own*uses(before == t.BudgetID), &x.budgetFields)
		if r != nil {
			return nil, r
		}
		t.BudgetID = row
		if x.spend.set {
			c.setSpend(s, tagScope(t.Name), &t.Spending, x.spend.v)
		}
		return append(changes, put(model.Tags, t)), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	t, ok := c.s.Tags.Get(name.v)
	if !ok {
		return noSuchTag(name.v)
	}
	return c.okLive(func() any { return tagAnswer{"Tag " + t.Name + " " + what + " successfully", c.tagView(c.s, t)} })
}

func tagInfo(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	names := f.strs("names")
	f.require("names", names.set)
	if f.wrong() {
		return c.refuseForm(f)
	}
	rows := map[string]tagView{}
	for _, name := range names.v {
		if t, ok := c.s.Tags.Get(name); ok {
			rows[name] = c.tagView(c.s, t)
		}
	}
	if len(rows) == 0 && len(names.v) > 0 {
		return noSuchTag(joined(names.v))
	}
	return c.ok(rows)
}

func tagList(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	rows := []tagView{}
	for _, t := range c.s.Tags.All() {
		rows = append(rows, c.tagView(c.s, t))
	}
	for name := range c.settings().LiteLLM.TagBudgets { // budgets that the settings give
		if _, ok := c.s.Tags.Get(name); !ok {
			rows = append(rows, c.tagView(c.s, &model.Tag{Name: name}))
		}
	}
	slices.SortFunc(rows, func(a, b tagView) int { return cmp.Compare(a.Name, b.Name) })
	return c.ok(rows)
}

func tagDelete(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	name := f.str("name")
	f.require("name", name.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		t, ok := s.Tags.Get(name.v)
		if !ok {
			return nil, noSuchTag(name.v)
		}
		changes := []model.Change{remove(model.Tags, t)}
		if b, ok := s.Budgets.Get(t.BudgetID); ok && len(detachBudget(s, b.ID)) <= 1 {
			changes = append(changes, remove(model.Budgets, b))
		}
		return changes, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.ok(struct {
		Message string `json:"message"`
	}{"Tag " + name.v + " deleted successfully"})
}
