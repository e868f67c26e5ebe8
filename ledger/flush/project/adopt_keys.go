package project

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"tollgate/config/model"
)

// dashboard is the team of the keys that LiteLLM's console makes for a session.
const dashboard = "litellm-dashboard"

type tokenRow struct {
	limitColumns
	budgetFields
	Token         string          `json:"token"`
	Name          string          `json:"key_name"`
	Alias         string          `json:"key_alias"`
	Expires       dbTime          `json:"expires"`
	Models        []string        `json:"models"`
	Aliases       field           `json:"aliases"`
	Config        field           `json:"config"`
	Router        field           `json:"router_settings"`
	User          string          `json:"user_id"`
	Team          string          `json:"team_id"`
	Agent         string          `json:"agent_id"`
	Project       string          `json:"project_id"`
	Organization  string          `json:"organization_id"`
	Budget        string          `json:"budget_id"`
	Permissions   field           `json:"permissions"`
	Metadata      field           `json:"metadata"`
	Blocked       bool            `json:"blocked"`
	CacheControls json.RawMessage `json:"allowed_cache_controls"`
	Routes        []string        `json:"allowed_routes"`
	Policies      json.RawMessage `json:"policies"`
	AccessGroups  json.RawMessage `json:"access_group_ids"`
	ModelMax      field           `json:"model_max_budget"`
	Limits        field           `json:"budget_limits"`
	Perms         json.RawMessage `json:"object_permission_id"`
	Rotations     json.RawMessage `json:"rotation_count"`
	AutoRotate    json.RawMessage `json:"auto_rotate"`
	Interval      json.RawMessage `json:"rotation_interval"`
	LastRotation  json.RawMessage `json:"last_rotation_at"`
	CreatedAt     dbTime          `json:"created_at"`
	UpdatedAt     dbTime          `json:"updated_at"`
	CreatedBy     string          `json:"created_by"`
}

func (a *adoption) keys(ctx context.Context) error {
	sessions := 0
	err := scan(ctx, a, "key", "LiteLLM_VerificationToken", "token", func(r *tokenRow) {
		if r.Team == dashboard {
			sessions++
			return
		}
		if !isHash(r.Token) {
			a.leave("key", r.Token, "its token is not the SHA-256 of a key")
			return
		}
		sp, why := r.spending()
		if why != "" {
			a.leave("key", r.Token, why)
			return
		}
		reset := r.ResetAt.Time
		if reset == nil && r.MaxBudget == "" {
			reset = a.resetOf(r.Budget)
		}
		a.take(&found{kind: "key", table: model.Keys, entity: r.key(sp), spend: r.Spend, resetAt: reset})
	})
	if sessions > 0 {
		a.logger.Info("keys of console sessions are not taken over", "keys", sessions)
	}
	return err
}

// isHash reports whether a token is what callers' keys are looked up by.
func isHash(token string) bool {
	return len(token) == 64 && strings.Trim(token, "0123456789abcdef") == ""
}

func (r *tokenRow) key(sp model.Spending) *model.Key {
	k := &model.Key{
		Meta: meta(r.CreatedAt, r.UpdatedAt, r.CreatedBy), Limits: r.limitColumns.limits(), Spending: sp, Hash: r.Token, Name: r.Name, Alias: r.Alias,
		UserID: r.User, TeamID: r.Team, OrganizationID: r.Organization, ProjectID: r.Project, AgentID: r.Agent, BudgetID: r.Budget,
		Models: r.Models, Aliases: r.Aliases.texts(), Config: r.Config.raw(), Permissions: r.Permissions.raw(),
		ModelMaxBudget: r.ModelMax.modelBudgetsIn(), BudgetWindows: r.Limits.windowsIn(), AllowedRoutes: r.Routes,
		Expires: r.Expires.Time, Blocked: r.Blocked,
	}
	m := metadataOf(r.Metadata)
	k.Tags = m.list("tags")
	k.ModelRPM, k.ModelTPM = m.limits("model_rpm_limit"), m.limits("model_tpm_limit")
	if raise := amountOf(m.take("temp_budget_increase")); raise != nil {
		if at, ok := stringOf(m.take("temp_budget_expiry")); ok {
			if expires, err := parseTime(at); err == nil {
				k.TempBudget = &model.TempBudget{Increase: *raise, Expires: expires}
			}
		}
	}
	more := map[string]json.RawMessage{}
	m.extras(more, keyInMetadata)
	k.Metadata = m.rest()
	for name, v := range map[string]json.RawMessage{"allowed_cache_controls": r.CacheControls, "policies": r.Policies,
		"access_group_ids": r.AccessGroups, "router_settings": json.RawMessage(r.Router), "object_permission_id": r.Perms,
		"rotation_count": r.Rotations, "auto_rotate": r.AutoRotate, "rotation_interval": r.Interval, "last_rotation_at": r.LastRotation} {
		extra(more, name, v)
	}
	k.Extra = orNone(more)
	return k
}

// replacedKeys finds the keys that were rotated away and still work for a while.
func (a *adoption) replacedKeys(ctx context.Context) error {
	type row struct {
		Token  string `json:"token"`
		Active string `json:"active_token_id"`
		Revoke dbTime `json:"revoke_at"`
	}
	return scan(ctx, a, "replaced_key", "LiteLLM_DeprecatedVerificationToken", "revoke_at", func(r *row) {
		f := a.byID["key\x00"+r.Active]
		until := r.Revoke.or(time.Time{})
		if f == nil || !until.After(a.now) || !isHash(r.Token) {
			return
		}
		k, ok := f.entity.(*model.Key)
		if !ok {
			return
		}
		if k.Replaces != "" {
			a.remark("key", k.Replaces, "it was rotated away twice: it stops working now")
		}
		k.Replaces, k.ReplacesUntil = r.Token, &until
	})
}
