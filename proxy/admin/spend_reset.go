package admin

import (
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// resetChunk bounds one mutation of a reset: each holds whole entities.
const resetChunk = 500

func (c *call) resetKeys(hashes []string) *refusal.Refusal {
	s := c.a.State.State()
	var asked []Spending
	for _, h := range hashes {
		if k, ok := s.Keys.Get(h); ok {
			asked = append(asked, Spending{keyScope(h), c.window(s, keyScope(h), &k.Spending)})
		}
	}
	c.countAll(asked)
	return c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		var changes []model.Change
		for _, h := range hashes {
			old, ok := s.Keys.Get(h)
			if !ok {
				continue
			}
			k := *old
			c.setSpend(s, keyScope(h), &k.Spending, 0)
			c.touched(&k.Meta)
			changes = append(changes, put(model.Keys, &k))
		}
		return changes, nil
	})
}

func (c *call) resetTeams(ids []string) *refusal.Refusal {
	s := c.a.State.State()
	var asked []Spending
	for _, id := range ids {
		if t, ok := s.Teams.Get(id); ok {
			asked = append(asked, Spending{teamScope(id), c.window(s, teamScope(id), &t.Spending)})
		}
	}
	c.countAll(asked)
	return c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		var changes []model.Change
		for _, id := range ids {
			old, ok := s.Teams.Get(id)
			if !ok {
				continue
			}
			t := *old
			c.setSpend(s, teamScope(id), &t.Spending, 0)
			c.touched(&t.Meta)
			changes = append(changes, put(model.Teams, &t))
		}
		return changes, nil
	})
}

// countAll asks all nodes for everything that resets of many count from, at once
// and not one by one.
func (c *call) countAll(asked []Spending) {
	c.count(asked...)
	scopes := make([]model.Scope, 0, len(asked))
	for _, q := range asked {
		if q.Since.IsZero() { // others begin anew by themselves
			scopes = append(scopes, q.Scope)
		}
	}
	c.before(scopes)
}
