package auth

import (
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/limiter/admit"
)

// Subject is everything one call counts against: its caller, the model group
// it names and the end user it is made for.
type Subject struct {
	Principal *Principal
	Group     string
	EndUser   string
	Tags      []string // the call's, each once
	// Tokens is the estimate that token limits reserve.
	Tokens int64
	// Free is set for models priced at an explicit zero: no budget is asked.
	Free bool
}

// Charges fills the ask's rates and budgets for a subject, in the order in
// which LiteLLM checks them, so that the first exhausted one is the one told.
// id names a limit in the limiter.
func (sub *Subject) Charges(s *state.Snapshot, ask *admit.Ask, id func(model.Scope, admit.Kind) uint64) {
	c := charger{s: s, ask: ask, id: id, tokens: sub.Tokens}
	p := sub.Principal
	if s.Routing != nil {
		c.rate(model.ProxyScope(), admit.Parallel, s.Routing.Config.General.GlobalParallel, 1)
	}
	if p.Key != nil {
		c.rates(p, sub.Group, sub.Tags)
	}
	if sub.EndUser != "" {
		c.endUserRates(sub.EndUser)
	}
	if sub.Free {
		return
	}
	if p.Key != nil {
		c.ownerBudgets(p, sub.Group, sub.Tags)
	}
	if sub.EndUser != "" {
		c.endUserBudgets(sub.EndUser, sub.Group)
	}
	if !p.Master {
		c.budget(model.ProxyScope())
	}
}

type charger struct {
	s      *state.Snapshot
	ask    *admit.Ask
	id     func(model.Scope, admit.Kind) uint64
	tokens int64
	home   string // of the limits that follow; "": anywhere
	moves  uint32 // how often home has been another before
	own    bool   // a limit of the caller's own was found: defaults do not apply
}

func (c *charger) rates(p *Principal, group string, tags []string) {
	k := p.Key
	// Only what the key has for itself is at home where it is: users, teams and
	// the others are shared by keys of many homes.
	c.home, c.moves = k.HomeRegion, k.HomeMoves
	c.limits(model.Scope{Dim: model.DimKey, ID: k.Hash}, &k.Limits)
	if p.KeyBudget != nil {
		c.missing(model.Scope{Dim: model.DimKey, ID: k.Hash}, &k.Limits, &p.KeyBudget.Limits)
	}
	c.perModel(ModelScope(k, group), k.ModelRPM, k.ModelTPM, group)
	c.home, c.moves = "", 0
	if p.User != nil {
		c.limits(model.Scope{Dim: model.DimUser, ID: p.User.ID}, &p.User.Limits)
	}
	if t := p.Team; t != nil {
		c.limits(model.Scope{Dim: model.DimTeam, ID: t.ID}, &t.Limits)
		c.perModel(model.Scope{Dim: model.DimModelPerTeam, ID: t.ID + "\x1f" + group}, t.ModelRPM, t.ModelTPM, group)
		if p.MemberBudget != nil {
			c.limits(model.Scope{Dim: model.DimMember, ID: model.MemberID(t.ID, k.UserID)}, &p.MemberBudget.Limits)
		}
	}
	c.sharedRates(p, group, tags)
	if !c.own && c.s.Routing != nil {
		l := &c.s.Routing.Config.LiteLLM
		sc := model.Scope{Dim: model.DimKey, ID: k.Hash}
		if k.UserID != "" {
			sc = model.Scope{Dim: model.DimUser, ID: k.UserID}
		} else {
			c.home, c.moves = k.HomeRegion, k.HomeMoves
		}
		c.rate(sc, admit.Requests, l.CallerRPM, 1)
		c.rate(sc, admit.Tokens, l.CallerTPM, c.tokens)
		c.home, c.moves = "", 0
	}
}

func (c *charger) endUserRates(id string) {
	row := ""
	if e, ok := c.s.EndUsers.Get(id); ok {
		row = e.BudgetID
	}
	if row == "" && c.s.Routing != nil {
		row = c.s.Routing.Config.LiteLLM.EndUserBudgetID
	}
	if row == "" {
		return
	}
	if b, ok := c.s.Budgets.Get(row); ok {
		c.limits(model.Scope{Dim: model.DimEndUser, ID: id}, &b.Limits)
	}
}

func (c *charger) perModel(sc model.Scope, rpm, tpm map[string]int64, group string) {
	if v, ok := rpm[group]; ok {
		c.rate(sc, admit.Requests, &v, 1)
	}
	if v, ok := tpm[group]; ok {
		c.rate(sc, admit.Tokens, &v, c.tokens)
	}
}

func (c *charger) limits(sc model.Scope, l *model.Limits) {
	c.rate(sc, admit.Requests, l.RPM, 1)
	c.rate(sc, admit.Tokens, l.TPM, c.tokens)
	c.rate(sc, admit.Parallel, l.Parallel, 1)
	if l.RPM != nil || l.TPM != nil {
		c.own = true
	}
}

// missing takes from a budget row only what the entity has not set itself.
func (c *charger) missing(sc model.Scope, own, row *model.Limits) {
	l := model.Limits{}
	if own.RPM == nil {
		l.RPM = row.RPM
	}
	if own.TPM == nil {
		l.TPM = row.TPM
	}
	if own.Parallel == nil {
		l.Parallel = row.Parallel
	}
	c.limits(sc, &l)
}

func (c *charger) rate(sc model.Scope, kind admit.Kind, limit *int64, units int64) {
	if limit == nil {
		return
	}
	c.ask.Rates = append(c.ask.Rates, admit.RateCharge{LimitID: c.id(sc, kind), Scope: sc, Kind: kind, Limit: *limit, Units: units, Home: c.home, Moves: c.moves})
}

func (c *charger) ownerBudgets(p *Principal, group string, tags []string) {
	k := p.Key
	if p.Team != nil && k.UserID != "" {
		c.budget(model.Scope{Dim: model.DimMember, ID: model.MemberID(p.Team.ID, k.UserID)})
	}
	c.budget(model.Scope{Dim: model.DimKey, ID: k.Hash})
	if len(k.ModelMaxBudget) > 0 {
		c.budget(ModelScope(k, group))
	}
	if t := p.Team; t != nil {
		c.budget(model.Scope{Dim: model.DimTeam, ID: t.ID})
		if len(t.ModelMaxBudget) > 0 {
			c.budget(model.ModelScope(model.DimModelPerTeam, t.ID, group))
		}
		c.windows(model.DimTeamWindow, t.ID, t.BudgetWindows)
	}
	c.windows(model.DimKeyWindow, k.Hash, k.BudgetWindows)
	c.sharedBudgets(p, tags)
	if p.Team == nil && k.UserID != "" { // a user's budget binds the keys without a team
		c.budget(model.Scope{Dim: model.DimUser, ID: k.UserID})
		if p.User != nil && len(p.User.ModelMaxBudget) > 0 {
			c.budget(model.ModelScope(model.DimModelPerUser, k.UserID, group))
		}
	}
}

// endUserBudgets are those of the customer that the call is made for. They bind
// the master key too.
func (c *charger) endUserBudgets(id, group string) {
	if b, ok := c.s.EndUserRow(id); ok && len(b.ModelMaxBudget) > 0 {
		c.budget(model.ModelScope(model.DimModelPerEndUser, id, group))
	}
	c.budget(model.Scope{Dim: model.DimEndUser, ID: id})
}

func (c *charger) budget(sc model.Scope) {
	if def, ok := c.s.BudgetOf(sc); ok {
		c.ask.Budgets = append(c.ask.Budgets, admit.BudgetCharge{Scope: sc, Def: def})
	}
}
