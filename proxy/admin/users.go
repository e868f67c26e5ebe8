package admin

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// userExtras are the fields of users that are kept and shown only.
var userExtras = extras{
	"allowed_cache_controls": listShape, "policies": listShape, "object_permission": objectShape,
	"object_permission_id": stringShape, "organizations": listShape,
}

// roles are what a user_role may be.
var roles = []string{"proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer", "team", "customer"}

// userRow is a user as the API shows it.
type userRow struct {
	ID              string                     `json:"user_id"`
	Alias           *string                    `json:"user_alias"`
	TeamID          *string                    `json:"team_id"`
	SSOUserID       *string                    `json:"sso_user_id"`
	OrganizationID  *string                    `json:"organization_id"`
	Role            *string                    `json:"user_role"`
	Email           *string                    `json:"user_email"`
	Teams           []string                   `json:"teams"`
	Models          []string                   `json:"models"`
	MaxBudget       *float64                   `json:"max_budget"`
	SoftBudget      *float64                   `json:"soft_budget,omitempty"`
	Spend           float64                    `json:"spend"`
	Metadata        jsontext.Value             `json:"metadata"`
	ModelSpend      map[string]float64         `json:"model_spend"`
	ModelMaxBudget  map[string]modelBudgetView `json:"model_max_budget"`
	MaxParallel     *int64                     `json:"max_parallel_requests"`
	TPM             *int64                     `json:"tpm_limit"`
	RPM             *int64                     `json:"rpm_limit"`
	BudgetDuration  *string                    `json:"budget_duration"`
	BudgetResetAt   *time.Time                 `json:"budget_reset_at"`
	BudgetMode      string                     `json:"budget_mode,omitempty"`
	AllowedCache    jsontext.Value             `json:"allowed_cache_controls"`
	Policies        jsontext.Value             `json:"policies"`
	ObjectPermsID   jsontext.Value             `json:"object_permission_id"`
	OrganizationIDs jsontext.Value             `json:"organizations"`
	Blocked         bool                       `json:"blocked"`
	CreatedAt       *time.Time                 `json:"created_at"`
	UpdatedAt       *time.Time                 `json:"updated_at"`
	RateLimits      []limitView                `json:"limits,omitempty"`
}

func userScope(id string) model.Scope { return model.Scope{Dim: model.DimUser, ID: id} }

func (c *call) userRow(s *state.Snapshot, u *model.User) userRow {
	return userRow{
		ID: u.ID, Alias: optional(u.Alias), SSOUserID: optional(u.SSOUserID), OrganizationID: optional(u.OrganizationID),
		Role: optional(u.Role), Email: optional(u.Email), Teams: u.Teams, Models: u.Models,
		MaxBudget: usd(u.MaxBudget), SoftBudget: usd(u.SoftBudget), Spend: c.spent(s, userScope(u.ID), &u.Spending).USD(),
		Metadata: raw(u.Metadata, "{}"), ModelMaxBudget: modelBudgetsView(u.ModelMaxBudget),
		ModelSpend:  c.modelSpend(s, model.DimModelPerUser, u.ID, u.ModelMaxBudget),
		MaxParallel: u.Parallel, TPM: u.TPM, RPM: u.RPM, BudgetDuration: optional(u.BudgetDuration), BudgetMode: u.BudgetMode,
		BudgetResetAt: c.resetAt(s, u.BudgetDuration, u.CreatedAt),
		AllowedCache:  raw(u.Extra["allowed_cache_controls"], "[]"), Policies: raw(u.Extra["policies"], "[]"),
		ObjectPermsID: raw(u.Extra["object_permission_id"], "null"), OrganizationIDs: raw(u.Extra["organizations"], "null"),
		Blocked: u.Blocked, CreatedAt: moment(u.CreatedAt), UpdatedAt: moment(u.UpdatedAt),
		RateLimits: c.limitsView(userScope(u.ID), &u.Limits),
	}
}

// userFields are the fields that making and changing a user have in common.
type userFields struct {
	limitFields
	spendingFields
	alias, email, role, sso, organization, password field[string]
	models                                          field[[]string]
	modelMax                                        field[map[string]model.ModelBudget]
	metadata                                        field[jsontext.Value]
	blocked                                         field[bool]
	extra                                           map[string]field[jsontext.Value]
}

func readUser(f *form) userFields {
	x := userFields{
		limitFields: readLimits(f), spendingFields: readSpending(f),
		alias: f.str("user_alias"), email: f.str("user_email"), role: f.choice("user_role", roles...),
		sso: f.str("sso_user_id"), organization: f.id("organization_id"), password: f.str("password"),
		models: f.strs("models"), modelMax: f.modelBudgets("model_max_budget"), metadata: f.object("metadata"),
		blocked: f.bool("blocked"), extra: userExtras.read(f),
	}
	if n := len(x.password.v); x.password.set && (n < 8 || n > 128) {
		f.invalid("password", "password must have 8 to 128 characters")
	}
	if x.email.v != "" && !strings.Contains(x.email.v, "@") {
		f.invalid("user_email", "user_email is not an address")
	}
	return x
}

func (x *userFields) into(u *model.User) {
	x.limitFields.into(&u.Limits)
	x.spendingFields.into(&u.Spending)
	x.alias.into(&u.Alias)
	x.email.into(&u.Email)
	x.role.into(&u.Role)
	x.sso.into(&u.SSOUserID)
	x.organization.into(&u.OrganizationID)
	x.models.into(&u.Models)
	x.modelMax.into(&u.ModelMaxBudget)
	intoRaw(x.metadata, &u.Metadata)
	x.blocked.into(&u.Blocked)
	u.Extra = keep(u.Extra, x.extra)
}

// checkEmail refuses an address that another user has.
func checkEmail(s *state.Snapshot, email, self string) *refusal.Refusal {
	if email == "" {
		return nil
	}
	if u, ok := s.UserByEmail(email); ok && u.ID != self {
		return refusal.New(409, "bad_request", "user_email", "User with email "+email+" already exists").Lift()
	}
	return nil
}

func noSuchUser(id string) *refusal.Refusal {
	return notFound("user_id", "User %s not found", id)
}

// findUser is the user that user_id or user_email names.
func findUser(s *state.Snapshot, id, email string) (*model.User, bool) {
	if id != "" {
		return s.Users.Get(id)
	}
	return s.UserByEmail(email)
}

// userInfoAnswer is a user with its keys and teams.
type userInfoAnswer struct {
	UserID *string    `json:"user_id"`
	Info   *userRow   `json:"user_info"`
	Keys   []tokenRow `json:"keys"`
	Teams  []teamRow  `json:"teams"`
}

func userInfo(c *call) *refusal.Refusal {
	id, r := c.askedUser()
	if r != nil {
		return r
	}
	out := userInfoAnswer{UserID: optional(id), Keys: []tokenRow{}, Teams: []teamRow{}}
	u, ok := c.s.Users.Get(id)
	if ok {
		row := c.userRow(c.s, u)
		out.Info = &row
		for _, t := range u.Teams {
			if team, ok := c.s.Teams.Get(t); ok {
				out.Teams = append(out.Teams, c.teamRow(c.s, team))
			}
		}
	}
	for k := range c.s.KeysOfUser(id) {
		if k.TeamID != dashboardTeam {
			out.Keys = append(out.Keys, c.tokenRow(c.s, k))
		}
	}
	if !ok && len(out.Keys) == 0 && c.query("user_id") != "" {
		return noSuchUser(id)
	}
	return c.ok(out)
}

// userOnly is user/info without keys and teams.
func userOnly(c *call) *refusal.Refusal {
	id, r := c.askedUser()
	if r != nil {
		return r
	}
	u, ok := c.s.Users.Get(id)
	if !ok {
		return noSuchUser(id)
	}
	return c.ok(c.userRow(c.s, u))
}

// askedUser is the user that a query asks for, by default the caller's own.
func (c *call) askedUser() (string, *refusal.Refusal) {
	id := c.query("user_id")
	if id == "" {
		return c.p.UserID(), nil
	}
	if !c.seesAll() && id != c.owner() {
		return "", forbidden("User=%s may not read user=%s. Your role=%s", c.owner(), id, c.p.Role)
	}
	return id, nil
}

func userList(c *call) *refusal.Refusal {
	if r := c.onlyViewer(); r != nil {
		return r
	}
	pg, r := c.page("page_size", 25, 100)
	if r != nil {
		return r
	}
	role, ids, email, team := c.query("role"), c.queries("user_ids"), strings.ToLower(c.query("user_email")), c.query("team")
	if one := c.query("user_id"); one != "" {
		ids = append(ids, one)
	}
	var users []*model.User
	for _, u := range c.s.Users.All() {
		if (role == "" || u.Role == role) && (len(ids) == 0 || slices.Contains(ids, u.ID)) &&
			(email == "" || strings.Contains(strings.ToLower(u.Email), email)) && (team == "" || slices.Contains(u.Teams, team)) {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *model.User) int {
		if n := b.CreatedAt.Compare(a.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	total := len(users)
	from, to, pages := pg.cut(total)
	type listed struct {
		userRow
		Keys int `json:"key_count"`
	}
	rows := []listed{}
	for _, u := range users[from:to] {
		row := listed{userRow: c.userRow(c.s, u)}
		for k := range c.s.KeysOfUser(u.ID) {
			if k.TeamID != dashboardTeam {
				row.Keys++
			}
		}
		rows = append(rows, row)
	}
	return c.ok(struct {
		Users []listed `json:"users"`
		Total int      `json:"total"`
		Page  int      `json:"page"`
		Size  int      `json:"page_size"`
		Pages int      `json:"total_pages"`
	}{rows, total, pg.number, pg.size, pages})
}

func userRoles(c *call) *refusal.Refusal {
	type role struct {
		Description string `json:"description"`
		Label       string `json:"ui_label"`
	}
	return c.ok(map[string]role{
		auth.RoleAdmin:          {"manages everything: keys, users, teams, budgets, models, settings", "Admin (All Permissions)"},
		auth.RoleAdminViewer:    {"reads everything, changes nothing", "Admin (View Only)"},
		auth.RoleInternal:       {"makes and deletes its own keys, reads its own spend", "Internal User (Create/Delete/View)"},
		auth.RoleInternalViewer: {"reads its own keys and spend", "Internal User (View Only)"},
	})
}
