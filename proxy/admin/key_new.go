package admin

import (
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// madeKey is the answer to the making of a key: the only time that the key
// itself is shown.
type madeKey struct {
	Key     string `json:"key"`
	Token   string `json:"token"`
	TokenID string `json:"token_id"`
	keyRow
	Duration       *string        `json:"duration"`
	Guardrails     jsontext.Value `json:"guardrails"`
	Prompts        jsontext.Value `json:"prompts"`
	EnforcedParams jsontext.Value `json:"enforced_params"`
	TPMLimitType   jsontext.Value `json:"tpm_limit_type"`
	RPMLimitType   jsontext.Value `json:"rpm_limit_type"`
}

func keyGenerate(c *call) *refusal.Refusal { return c.generate(false) }

// serviceAccountGenerate makes a key that belongs to a team and to nobody in it.
func serviceAccountGenerate(c *call) *refusal.Refusal { return c.generate(true) }

func (c *call) generate(service bool) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	f.fill(c.settings().LiteLLM.DefaultKeyParams)
	x, wanted := readKey(f), f.str("key")
	f.checkKey("key", wanted)
	if service {
		f.require("team_id", x.team.set && x.team.v != "")
		x.user = field[string]{}
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	if r := c.upperBounds(&x, true); r != nil {
		return r
	}
	if r := c.mayMake(&x, service); r != nil {
		return r
	}
	c.warnOfRegions(x.regions)
	plain, r := c.secretKey(wanted)
	if r != nil {
		return r
	}
	c.secret = plain
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		if r := checkReferences(s, &x, ""); r != nil {
			return nil, r
		}
		k, r := c.newKey(s, plain, &x)
		if r != nil {
			return nil, r
		}
		return []model.Change{put(model.Keys, k)}, nil
	})
	if r != nil {
		return r
	}
	return c.showMade(&x)
}

// checkKey notes a key chosen by the caller that cannot be one.
func (f *form) checkKey(name string, wanted field[string]) {
	if wanted.set && (!strings.HasPrefix(wanted.v, "sk-") || len(wanted.v) <= len("sk-") || strings.ContainsAny(wanted.v, " \t\r\n")) {
		f.invalid(name, "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.")
	}
}

// mayMake checks what a caller who is no proxy admin may ask of a new key.
func (c *call) mayMake(x *keyFields, service bool) *refusal.Refusal {
	if c.p.Admin() {
		return nil
	}
	me := c.owner()
	if c.onlyReads() {
		return forbidden("Your role=%s changes nothing. Route=%s", c.p.Role, c.path)
	}
	if me == "" {
		return forbidden("This key belongs to no user and may not make keys. Route=%s. Your role=%s", c.path, c.p.Role)
	}
	if x.permissions.set || x.spend.set || x.organization.set || x.mode.set {
		return forbidden("Only proxy admins may set permissions, spend, organization_id or budget_mode of a key. Your role=%s. Your user_id=%s", c.p.Role, me)
	}
	if r := c.withinOwnRoutes(x, true); r != nil {
		return r
	}
	if r := c.withinOwnRegions(x, true); r != nil {
		return r
	}
	lead := x.team.v != "" && c.leads(x.team.v)
	if x.team.v != "" && !lead {
		t, ok := c.s.Teams.Get(x.team.v)
		if !ok || c.roleIn(t) == "" || !grants(t, "/key/generate") {
			return forbidden("User=%s may not make keys for team=%s.", me, x.team.v)
		}
	}
	if !x.user.set && !service {
		x.user = field[string]{true, true, me}
	}
	if x.user.v != me && !lead {
		return forbidden("User can only create keys for themselves. Got user_id=%s, Your ID=%s", x.user.v, me)
	}
	return nil
}

// withinOwnRoutes keeps a key that may call a few routes only from making
// another, or itself, into one that may call more. A new key without routes of
// its own gets the caller's.
func (c *call) withinOwnRoutes(x *keyFields, fresh bool) *refusal.Refusal {
	if c.p.Key == nil || len(c.p.Key.AllowedRoutes) == 0 {
		return nil
	}
	mine := c.p.Key.AllowedRoutes
	if fresh && len(x.routes.v) == 0 {
		x.routes = field[[]string]{true, true, mine}
	}
	beyond := func(route string) bool { return !slices.Contains(mine, route) }
	if x.routes.given && (len(x.routes.v) == 0 || slices.ContainsFunc(x.routes.v, beyond)) {
		return forbidden("allowed_routes may not go beyond those of the calling key: %s", joined(mine))
	}
	return nil
}

// checkReferences refuses a key that names objects which do not exist, or an
// alias that another key (other than self, a hash) has.
func checkReferences(s *state.Snapshot, x *keyFields, self string) *refusal.Refusal {
	if x.alias.v != "" {
		if k, ok := s.KeyByAlias(x.alias.v); ok && k.Hash != self {
			return badRequest("key_alias", "Key with alias '%s' already exists. Unique key aliases across all keys are required.", x.alias.v)
		}
	}
	if x.team.v != "" {
		if _, ok := s.Teams.Get(x.team.v); !ok {
			return badRequest("team_id", "Unable to find team object in database. Team ID: %s", x.team.v)
		}
	}
	if r := checkOrganization(s, x.organization.v); r != nil {
		return r
	}
	if x.budgetID.v != "" {
		if _, ok := s.Budgets.Get(x.budgetID.v); !ok {
			return badRequest("budget_id", "Budget with budget_id=%s does not exist. Make it with /budget/new.", x.budgetID.v)
		}
	}
	return checkHome(s, x, self)
}

// secretKey is the key that the caller wants, or a new one of 16 random bytes.
func (c *call) secretKey(wanted field[string]) (string, *refusal.Refusal) {
	if wanted.set {
		return wanted.v, nil
	}
	var b [16]byte
	if _, err := io.ReadFull(c.a.Rand, b[:]); err != nil {
		return "", c.noRandom(err)
	}
	plain := "sk-" + base64.RawURLEncoding.EncodeToString(b[:])
	c.draw(auth.Hash([]byte(plain)))
	return plain, nil
}

// newKey makes the entity of a key that must not exist yet.
func (c *call) newKey(s *state.Snapshot, plain string, x *keyFields) (*model.Key, *refusal.Refusal) {
	k := &model.Key{Hash: auth.Hash([]byte(plain)), Name: auth.Abbreviated([]byte(plain))}
	if k.Hash == c.masterHash() {
		return nil, badRequest("key", "This key cannot be used.")
	}
	if _, taken := s.Keys.Get(k.Hash); taken {
		return nil, badRequest("key", "Key already exists. Choose another one.")
	}
	c.born(&k.Meta)
	x.into(k, c.now())
	if x.spend.set {
		c.offsetSpend(s, keyScope(k.Hash), &k.Spending, x.spend.v)
	}
	return k, nil
}

func (c *call) masterHash() string {
	if c.a.MasterKeyHash == nil {
		return ""
	}
	return c.a.MasterKeyHash()
}

// showMade answers with a key that was just made. When the state does not hold
// it, this call repeated an earlier one under its Idempotency-Key, whose key
// cannot be told any more.
func (c *call) showMade(x *keyFields) *refusal.Refusal {
	k, ok := c.s.Keys.Get(auth.Hash([]byte(c.secret)))
	if !ok {
		return c.notShownAgain()
	}
	kept := func(name string) jsontext.Value { return raw(k.Extra[name], "null") }
	return c.ok(madeKey{c.secret, k.Hash, k.Hash, c.keyRow(c.s, k), lifetimeView(x),
		kept("guardrails"), kept("prompts"), kept("enforced_params"), kept("tpm_limit_type"), kept("rpm_limit_type")})
}

// notShownAgain is the answer to a repeated call whose key was made before.
func (c *call) notShownAgain() *refusal.Refusal {
	if c.key == "" {
		return refusal.New(409, "conflict", "key", "The key was made and is gone already: somebody else deleted it.")
	}
	return refusal.New(409, "conflict", "Idempotency-Key",
		"A call with this Idempotency-Key made its key before. A key is shown once only; nothing was made by this call.")
}

func lifetimeView(x *keyFields) *string {
	if !x.lifetime.set {
		return nil
	}
	return &x.lifetime.v
}
