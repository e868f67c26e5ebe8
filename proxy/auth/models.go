package auth

import (
	"strings"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/wildcard"
	"tollgate/proxy/refusal"
)

// Names in a models list that stand for more than themselves.
const (
	AllTeamModels  = "all-team-models"
	AllProxyModels = "all-proxy-models"
	NoModels       = "no-default-models"
)

// ModelError is LiteLLM's refusal of a model, in either era's status.
func modelDenied(who string, allowed []string, tried string, compatOld bool) *refusal.Refusal {
	status := 403
	if compatOld {
		status = 401
	}
	return refusal.New(status, who+"_model_access_denied", "model",
		who+" not allowed to access model. This "+who+" can only access models="+pythonList(allowed)+". Tried to access "+tried).Lift()
}

// pythonList shows names as LiteLLM's messages do: ['a', 'b'].
func pythonList(names []string) string {
	if len(names) == 0 {
		return "[]"
	}
	return "['" + strings.Join(names, "', '") + "']"
}

// MayUseModel checks a model name against every list that binds the caller:
// key, team, and the user for keys without a team. Team keys must pass both.
func (p *Principal) MayUseModel(s *state.Snapshot, name string, compatOld bool) *refusal.Refusal {
	if p.Master || p.Key == nil {
		return nil
	}
	if list := p.Key.Models; !p.listAllows(s, list, name, p.teamModels()) {
		return modelDenied("key", list, name, compatOld)
	}
	return nil
}

// ownersAllow checks the team's and the member's lists, or the user's where the
// key has no team.
func (p *Principal) ownersAllow(s *state.Snapshot, name string, compatOld bool) *refusal.Refusal {
	if p.Team != nil {
		if p.Team.Blocked {
			return refusal.New(401, "auth_error", refusal.None, "Authentication Error, Team="+p.Team.ID+
				" is blocked. Update via `/team/unblock` if you're an admin.").Lift()
		}
		if !p.listAllows(s, p.Team.Models, name, nil) {
			return modelDenied("team", p.Team.Models, name, compatOld)
		}
		if b := p.MemberBudget; b != nil && !p.listAllows(s, b.AllowedModels, name, nil) {
			return modelDenied("user", b.AllowedModels, name, compatOld)
		}
		return nil
	}
	if p.User != nil {
		for _, m := range p.User.Models {
			if m == NoModels {
				return refusal.New(401, "key_model_access_denied", "model",
					"User not allowed to access model. No default model access, only team models allowed. Tried to access "+name).Lift()
			}
		}
		if !p.listAllows(s, p.User.Models, name, nil) {
			return modelDenied("user", p.User.Models, name, compatOld)
		}
	}
	return nil
}

func (p *Principal) teamModels() []string {
	if p.Team == nil {
		return nil
	}
	return p.Team.Models
}

// listAllows reports whether a models list opens a name: empty means all;
// entries are names, wildcards, access groups or the special names.
func (p *Principal) listAllows(s *state.Snapshot, list []string, name string, team []string) bool {
	if len(list) == 0 {
		return true
	}
	return listOpens(s, list, p.resolveAlias(name), team)
}

// MayReach reports whether every list that binds the caller opens a group by
// its own name. Fallbacks ask: the caller's aliases rename what is asked for,
// not where a call goes on.
func (p *Principal) MayReach(s *state.Snapshot, group string) bool {
	plain := *p
	if p.Key != nil && len(p.Key.Aliases) > 0 {
		k := *p.Key
		k.Aliases = nil
		plain.Key = &k
	}
	if p.Team != nil && len(p.Team.ModelAliases) > 0 {
		t := *p.Team
		t.ModelAliases = nil
		plain.Team = &t
	}
	return plain.MayUseModel(s, group, false) == nil && plain.MayUseModelOfOwners(s, group, false) == nil
}

// listOpens is listAllows for a name whose aliases are resolved.
func listOpens(s *state.Snapshot, list []string, name string, team []string) bool {
	for _, entry := range list {
		switch entry {
		case name, "*", AllProxyModels:
			return true
		case AllTeamModels:
			if len(team) == 0 || listOpens(s, team, name, nil) {
				return true
			}
		default:
			if wildcard.Is(entry) && wildcard.Match(entry, name) {
				return true
			}
		}
	}
	return groupOpens(s, list, name)
}

// groupOpens looks for an access group among the list's entries.
func groupOpens(s *state.Snapshot, list []string, name string) bool {
	if s.Routing == nil {
		return false
	}
	for _, access := range s.Routing.AccessNames(name) {
		for _, entry := range list {
			if entry == access {
				return true
			}
		}
	}
	return false
}

// resolveAlias applies the team's and the key's own model aliases.
func (p *Principal) resolveAlias(name string) string {
	if p.Team != nil {
		if to, ok := p.Team.ModelAliases[name]; ok {
			name = to
		}
	}
	if p.Key != nil {
		if to, ok := p.Key.Aliases[name]; ok {
			name = to
		}
	}
	return name
}

// Alias is the model group that the caller's own aliases make of a name.
func (p *Principal) Alias(name string) string {
	if p.Key == nil || (len(p.Key.Aliases) == 0 && (p.Team == nil || len(p.Team.ModelAliases) == 0)) {
		return name
	}
	return p.resolveAlias(name)
}

// Models filters what /v1/models shows down to what the caller may call.
func (p *Principal) Models(s *state.Snapshot, visible []string) []string {
	if p.Master || p.Key == nil {
		return visible
	}
	out := make([]string, 0, len(visible))
	for _, name := range visible {
		if p.MayUseModel(s, name, false) == nil && p.MayUseModelOfOwners(s, name, false) == nil {
			out = append(out, name)
		}
	}
	return out
}

// ModelScope is the scope of a per-model limit of a key.
func ModelScope(k *model.Key, group string) model.Scope {
	return model.Scope{Dim: model.DimModelPerKey, ID: k.Hash + "\x1f" + group}
}
