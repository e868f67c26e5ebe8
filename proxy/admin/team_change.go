package admin

import (
	"slices"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// changeTeam changes one team for which the caller has the right that may checks.
func (c *call) changeTeam(may func(t *model.Team) *refusal.Refusal, change func(f *form, t *model.Team)) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	id := f.str("team_id")
	f.require("team_id", id.v != "")
	change(f, &model.Team{}) // reads its fields, so that all faults are known before anything is submitted
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		b := c.batch(s)
		t, ok := b.team(id.v)
		if !ok {
			return nil, noSuchTeam(id.v)
		}
		if r := may(t); r != nil {
			return nil, r
		}
		change(f, t)
		return b.changes(), nil
	})
	if r != nil {
		return r
	}
	c.spread()
	t, ok := c.s.Teams.Get(id.v)
	if !ok {
		return noSuchTeam(id.v)
	}
	return c.okLive(func() any { return c.teamRow(c.s, t) })
}

func teamBlock(blocked bool) handler {
	return func(c *call) *refusal.Refusal {
		return c.changeTeam(func(t *model.Team) *refusal.Refusal { return c.onlyOrgAdmin(t.OrganizationID) },
			func(_ *form, t *model.Team) { t.Blocked = blocked })
	}
}

// teamModels adds models to a team's list or takes them off.
func teamModels(add bool) handler {
	return func(c *call) *refusal.Refusal {
		return c.changeTeam(func(t *model.Team) *refusal.Refusal { return c.onlyOrgAdmin(t.OrganizationID) },
			func(f *form, t *model.Team) {
				models := f.strs("models")
				f.require("models", models.set)
				t.Models = slices.DeleteFunc(slices.Clone(t.Models), func(m string) bool { return slices.Contains(models.v, m) })
				if add {
					t.Models = append(t.Models, models.v...)
				}
			})
	}
}
