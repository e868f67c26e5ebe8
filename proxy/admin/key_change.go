package admin

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// hashOf is the hash of a key given plainly or by its hash.
func hashOf(key string) string {
	if strings.HasPrefix(key, "sk-") {
		return auth.Hash([]byte(key))
	}
	return key
}

func noSuchKey(key string) *refusal.Refusal {
	return notFound("key", "Key not found in database: %s", shortKey(key))
}

// shortKey shows a key that a caller sent: never the whole of a plain one.
func shortKey(key string) string {
	if strings.HasPrefix(key, "sk-") {
		return auth.Abbreviated([]byte(key))
	}
	return key
}

// temporary reads temp_budget_increase and temp_budget_expiry: both or neither.
func (f *form) temporary() (t *model.TempBudget, given bool) {
	inc, until := f.budget("temp_budget_increase"), f.str("temp_budget_expiry")
	if !inc.given && !until.given {
		return nil, false
	}
	if inc.set != until.set {
		f.invalid("temp_budget_increase", "temp_budget_increase and temp_budget_expiry must be set together")
		return nil, true
	}
	if !inc.set {
		return nil, true
	}
	at, ok := parseMoment(until.v)
	if !ok {
		f.fault("temp_budget_expiry", "datetime_parsing", "Input should be a valid datetime")
	}
	return &model.TempBudget{Increase: inc.v, Expires: at}, true
}

// parseMoment reads the forms of a time that LiteLLM's API takes; without a
// zone it is UTC.
func parseMoment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999Z07:00",
		"2006-01-02 15:04:05.999999", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			// A zone can move the end of year 9999 to where times have no JSON form.
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

func keyUpdate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	key, x := f.str("key"), readKey(f)
	f.require("key", key.v != "")
	temp, tempGiven := f.temporary()
	if f.wrong() {
		return c.refuseForm(f)
	}
	if r := c.upperBounds(&x, false); r != nil {
		return r
	}
	c.warnOfRegions(x.regions)
	hash := hashOf(key.v)
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Keys.Get(hash)
		if !ok {
			return nil, noSuchKey(key.v)
		}
		if r := c.mayChange(old, &x, tempGiven); r != nil {
			return nil, r
		}
		if r := checkReferences(s, &x, hash); r != nil {
			return nil, r
		}
		k := *old
		x.into(&k, c.now())
		if tempGiven {
			k.TempBudget = temp
		}
		if x.spend.set {
			c.setSpend(s, keyScope(hash), &k.Spending, x.spend.v)
		}
		c.touched(&k.Meta)
		return []model.Change{put(model.Keys, &k)}, nil
	})
	if r != nil {
		return r
	}
	if x.limiting() || x.blocked.v || x.spend.given || x.permissions.given || tempGiven {
		c.spread()
	}
	k, ok := c.s.Keys.Get(hash)
	if !ok {
		return noSuchKey(key.v)
	}
	return c.okLive(func() any {
		return struct {
			Key string `json:"key"`
			tokenRow
		}{key.v, c.tokenRow(c.s, k)}
	})
}

// mayChange checks what the caller may change of a key. Owners may do as they
// like with keys they made; what an admin gave them they may name and delete,
// but not widen.
func (c *call) mayChange(old *model.Key, x *keyFields, temp bool) *refusal.Refusal {
	if c.p.Admin() {
		return nil
	}
	if !c.manages(old) {
		return forbidden("User=%s may not change this key: it belongs to user_id=%s, team_id=%s.", c.owner(), old.UserID, old.TeamID)
	}
	if x.permissions.given || x.spend.given || x.organization.given || x.blocked.given || x.mode.given {
		return forbidden("Only proxy admins may change permissions, spend, organization_id, blocked or budget_mode of a key. Your role=%s. Your user_id=%s",
			c.p.Role, c.owner())
	}
	if r := c.withinOwnRoutes(x, false); r != nil {
		return r
	}
	if r := c.withinOwnRegions(x, false); r != nil {
		return r
	}
	if x.team.given && x.team.v != old.TeamID && x.team.v != "" && !c.leads(x.team.v) {
		return forbidden("User=%s may not move keys to team=%s.", c.owner(), x.team.v)
	}
	if c.leads(old.TeamID) {
		return nil
	}
	if x.user.given && x.user.v != c.owner() {
		return forbidden("User=%s may not give this key to another user.", c.owner())
	}
	if temp || x.limiting() && old.CreatedBy != c.owner() {
		return forbidden("Only proxy admins and team admins may change the limits, models and budgets of a key that an admin made. Your user_id=%s", c.owner())
	}
	return nil
}

func keyBlock(blocked bool) handler {
	return func(c *call) *refusal.Refusal {
		if r := c.onlyAdmin(); r != nil {
			return r
		}
		f, r := c.form()
		if r != nil {
			return r
		}
		key := f.str("key")
		f.require("key", key.v != "")
		if f.wrong() {
			return c.refuseForm(f)
		}
		k, r := c.changeKey(key.v, func(_ *state.Snapshot, k *model.Key) { k.Blocked = blocked })
		if r != nil {
			return r
		}
		c.spread()
		return c.okLive(func() any { return c.tokenRow(c.s, k) })
	}
}

// changeKey changes one key by a function that cannot fail.
func (c *call) changeKey(key string, change func(s *state.Snapshot, k *model.Key)) (*model.Key, *refusal.Refusal) {
	hash := hashOf(key)
	r := c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Keys.Get(hash)
		if !ok {
			return nil, noSuchKey(key)
		}
		k := *old
		change(s, &k)
		c.touched(&k.Meta)
		return []model.Change{put(model.Keys, &k)}, nil
	})
	if r != nil {
		return nil, r
	}
	k, ok := c.s.Keys.Get(hash)
	if !ok {
		return nil, noSuchKey(key)
	}
	return k, nil
}

func keyDelete(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	keys, aliases := f.strs("keys"), f.strs("key_aliases")
	f.require("keys", len(keys.v)+len(aliases.v) > 0)
	if f.wrong() {
		return c.refuseForm(f)
	}
	var deleted []string
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		deleted = nil
		var changes []model.Change
		seen := map[string]bool{}
		one := func(asked string, k *model.Key, ok bool) *refusal.Refusal {
			switch {
			case !ok:
				return nil
			case !c.manages(k):
				return forbidden("User=%s may not delete this key: it belongs to user_id=%s, team_id=%s.", c.owner(), k.UserID, k.TeamID)
			case !seen[k.Hash]:
				changes = append(changes, remove(model.Keys, k))
				seen[k.Hash] = true
			}
			deleted = append(deleted, asked)
			return nil
		}
		for _, key := range keys.v {
			k, ok := s.Keys.Get(hashOf(key))
			if r := one(key, k, ok); r != nil {
				return nil, r
			}
		}
		for _, alias := range aliases.v {
			k, ok := s.KeyByAlias(alias)
			if r := one(alias, k, ok); r != nil {
				return nil, r
			}
		}
		if len(changes) == 0 {
			return nil, notFound("keys", "No matching keys were found. Nothing was deleted.")
		}
		return changes, nil
	})
	if r != nil {
		return r
	}
	if c.repeated {
		deleted = append(append(deleted, keys.v...), aliases.v...)
	}
	c.spread()
	return c.ok(struct {
		Deleted []string `json:"deleted_keys"`
	}{deleted})
}

// keyRegenerate gives a key a new secret. Everything else stays, the spend too;
// with a grace period the old secret works on for that long.
func keyRegenerate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	key, wanted, grace, x := f.str("key"), f.str("new_key"), f.window("grace_period"), readKey(f)
	if c.param != "" {
		key = field[string]{true, true, c.param}
	}
	if !key.set && c.p.Key != nil {
		key = field[string]{true, true, c.p.Key.Hash}
	}
	f.require("key", key.v != "")
	f.checkKey("new_key", wanted)
	if f.str("new_master_key").set {
		f.invalid("new_master_key", "the master key is changed with the node's settings, not here")
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	if r := c.upperBounds(&x, false); r != nil {
		return r
	}
	plain, r := c.secretKey(wanted)
	if r != nil {
		return r
	}
	oldHash := hashOf(key.v)
	c.secret = plain
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Keys.Get(oldHash)
		if !ok {
			return nil, noSuchKey(key.v)
		}
		if r := c.mayChange(old, &x, false); r != nil {
			return nil, r
		}
		if r := checkReferences(s, &x, oldHash); r != nil {
			return nil, r
		}
		fresh, r := c.newKey(s, plain, &keyFields{})
		if r != nil {
			return nil, r
		}
		c.rotate(s, old, fresh, &x, grace)
		return []model.Change{remove(model.Keys, old), put(model.Keys, fresh)}, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.showMade(&x)
}

// rotate fills a fresh key with everything that the old one has.
func (c *call) rotate(s *state.Snapshot, old, fresh *model.Key, x *keyFields, grace field[string]) {
	hash, name := fresh.Hash, fresh.Name
	*fresh = *old
	fresh.Hash, fresh.Name = hash, name
	fresh.CreatedIndex, fresh.Version, fresh.SpendBase = 0, 0, 0
	// The ledger counts by hash: what the old one spent goes along as a correction.
	spent := c.spentEverywhere(s, keyScope(old.Hash), &old.Spending)
	x.into(fresh, c.now())
	if x.spend.set {
		spent = x.spend.v
	}
	fresh.SpendOffset, fresh.SpendOffsetWindow = spent, windowStart(c.window(s, keyScope(old.Hash), &fresh.Spending))
	fresh.Replaces, fresh.ReplacesUntil = "", nil
	if w, err := unit.ParseWindow(grace.v); grace.set && err == nil && !w.Endless() {
		until := w.Add(c.now())
		fresh.Replaces, fresh.ReplacesUntil = old.Hash, &until
	}
	count, _ := strconv.Atoi(string(raw(old.Extra["rotation_count"], "0")))
	fresh.Extra = keep(fresh.Extra, map[string]field[jsontext.Value]{
		"rotation_count":   {true, true, jsontext.Value(strconv.Itoa(count + 1))},
		"last_rotation_at": {true, true, jsontext.Value(strconv.Quote(c.now().Format(time.RFC3339)))},
	})
	c.touched(&fresh.Meta)
}

func keyResetSpend(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	to := f.budget("reset_to")
	f.require("reset_to", to.set)
	if f.wrong() {
		return c.refuseForm(f)
	}
	old, ok := c.s.Keys.Get(hashOf(c.param))
	if !ok {
		return noSuchKey(c.param)
	}
	if !c.p.Admin() && !c.leads(old.TeamID) {
		return forbidden("Only proxy admins and team admins may reset the spend of a key. Your user_id=%s", c.owner())
	}
	before := c.spentEverywhere(c.s, keyScope(old.Hash), &old.Spending)
	if to.v > before {
		return badRequest("reset_to", "reset_to (%s) must not be above the current spend (%s).", to.v, before)
	}
	k, r := c.changeKey(old.Hash, func(s *state.Snapshot, k *model.Key) { c.setSpend(s, keyScope(k.Hash), &k.Spending, to.v) })
	if r != nil {
		return r
	}
	return c.ok(struct {
		Hash     string     `json:"key_hash"`
		Spend    float64    `json:"spend"`
		Previous float64    `json:"previous_spend"`
		Max      *float64   `json:"max_budget"`
		ResetAt  *time.Time `json:"budget_reset_at"`
	}{k.Hash, to.v.USD(), before.USD(), usd(k.MaxBudget), c.resetAt(c.s, k.BudgetDuration, k.CreatedAt)})
}
