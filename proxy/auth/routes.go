package auth

import (
	"slices"
	"strings"

	"tollgate/config/wildcard"
	"tollgate/proxy/refusal"
)

// routeGroups are the names that allowed_routes may hold in place of paths.
var routeGroups = map[string][]string{
	"openai_routes": {"/chat/completions", "/completions", "/embeddings", "/models", "/models/*", "/responses", "/responses/*",
		"/images/*", "/audio/*", "/moderations", "/batches", "/batches/*", "/files", "/files/*", "/engines/*",
		"/openai/deployments/*", "/rerank", "/utils/token_counter"},
	"anthropic_routes": {"/messages", "/messages/*"},
	"info_routes": {"/key/info", "/team/info", "/team/list", "/user/info", "/model/info", "/v2/model/info", "/v2/key/info",
		"/model_group/info", "/health", "/key/list", "/customer/info", "/organization/info", "/organization/list", "/models"},
	"management_routes": {"/key/*", "/user/*", "/team/*", "/budget/*", "/customer/*", "/end_user/*", "/organization/*",
		"/model/*", "/tag/*", "/config/*"},
	"spend_tracking_routes": {"/spend/*", "/global/*", "/user/daily/activity", "/team/daily/activity", "/tag/daily/activity"},
}

// selfRoutes may be called by every key, for its own objects.
var selfRoutes = []string{"/key/info", "/user/info", "/team/info", "/team/list", "/model/info", "/v2/model/info",
	"/model_group/info", "/models", "/models/*", "/health", "/key/health", "/user/daily/activity", "/utils/token_counter",
	"/utils/explain"}

// ownKeyRoutes are what an internal_user may call: for its own keys, and for the
// teams it leads. Whose object it is the handlers decide; these let them.
var ownKeyRoutes = []string{"/key/generate", "/key/update", "/key/delete", "/key/list", "/key/regenerate", "/key/*/regenerate",
	"/key/aliases", "/key/*/reset_spend", "/key/service-account/generate", "/v2/key/info", "/v2/user/info", "/user/available_roles",
	"/team/update", "/team/delete", "/team/member_add", "/team/bulk_member_add", "/team/member_update", "/team/member_delete", "/v2/team/list",
	"/team/daily/activity", "/spend/*", "/global/spend/*", "/global/activity*", "/organization/info", "/organization/list"}

// orgAdminRoutes are what managers of an organization may call besides: their
// handlers let them at their own organization only.
var orgAdminRoutes = []string{"/organization/info", "/organization/list", "/organization/member_add", "/organization/member_update",
	"/organization/member_delete", "/team/new", "/team/block", "/team/unblock", "/team/model/add", "/team/model/delete"}

var viewerRoutes = []string{"/spend/*", "/global/spend/*", "/global/activity*", "/key/list", "/key/aliases", "/v2/key/info", "/v2/user/info",
	"/user/available_roles", "/v2/team/list", "/team/daily/activity", "/organization/info", "/organization/list"}

// NormalizeRoute drops /v1, so that rules are written once.
func NormalizeRoute(path string) string {
	if rest, ok := strings.CutPrefix(path, "/v1"); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// IsLLMRoute reports whether a (normalized) path is one of the model routes.
func IsLLMRoute(route string) bool {
	return route != "/models" && (matchAny(routeGroups["openai_routes"], route) || matchAny(routeGroups["anthropic_routes"], route))
}

// MayCallRoute checks the key's allowed_routes first and the role then.
// readOnly says that the request changes nothing.
func (p *Principal) MayCallRoute(path string, readOnly bool) *refusal.Refusal {
	route := NormalizeRoute(path)
	if p.Key != nil && len(p.Key.AllowedRoutes) > 0 && !routeListed(p.Key.AllowedRoutes, path, route) {
		return refusal.New(403, "auth_error", refusal.None, "Authentication Error, Virtual key is not allowed to call this route. Only allowed to call routes: "+
			pythonList(p.Key.AllowedRoutes)+". Tried to call route: "+path).Lift()
	}
	if p.Admin() {
		return nil
	}
	if operators(path) && !(p.Role == RoleAdminViewer && readOnly) {
		return onlyAdmins(p, path)
	}
	if p.Public || IsLLMRoute(route) || matchAny(selfRoutes, route) {
		return nil
	}
	switch p.Role {
	case RoleAdminViewer:
		if readOnly {
			return nil
		}
	case RoleInternal, RoleOrgAdmin:
		if matchAny(ownKeyRoutes, route) || p.OrgAdmin && matchAny(orgAdminRoutes, route) {
			return nil
		}
	case RoleInternalViewer:
		if matchAny(viewerRoutes, route) {
			return nil
		}
	}
	if p.Key != nil && permits(p.Key.Permissions, "get_spend_routes") && matchAny(routeGroups["spend_tracking_routes"], route) {
		return nil
	}
	return onlyAdmins(p, path)
}

// operators reports whether a path is of the operators' API, which is about the
// cluster itself: no public_routes and no permission of a key open it.
func operators(path string) bool { return path == "/cluster" || strings.HasPrefix(path, "/cluster/") }

func onlyAdmins(p *Principal, path string) *refusal.Refusal {
	return refusal.New(403, "auth_error", refusal.None, "Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route="+
		path+". Your role="+p.Role+". Your user_id="+p.UserID()).Lift()
}

// ProxyAllows checks a path against the gateway's own lists: allowed_routes
// leave open only what they name, admin_only_routes are for proxy admins.
func (p *Principal) ProxyAllows(path string, allowed, adminOnly []string) *refusal.Refusal {
	route := NormalizeRoute(path)
	if len(allowed) > 0 && !routeListed(allowed, path, route) {
		return refusal.New(403, "auth_error", refusal.None, "Authentication Error, Route "+path+" is not allowed on this gateway (general_settings.allowed_routes).").Lift()
	}
	if len(adminOnly) > 0 && !p.Admin() && routeListed(adminOnly, path, route) {
		return refusal.New(403, "auth_error", refusal.None, "Authentication Error, Route "+path+" is for proxy admins only (general_settings.admin_only_routes).").Lift()
	}
	return nil
}

// routeListed reports whether an allowed_routes list opens a path.
func routeListed(list []string, path, route string) bool {
	for _, entry := range list {
		if entry == "llm_api_routes" && IsLLMRoute(route) || entry == "llm_api_routes" && matchRoute("/models*", route) {
			return true
		}
		if group, ok := routeGroups[entry]; ok {
			if matchAny(group, route) {
				return true
			}
			continue
		}
		if matchRoute(entry, path) || matchRoute(NormalizeRoute(entry), route) {
			return true
		}
	}
	return false
}

func matchAny(patterns []string, route string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchRoute(p, route) })
}

// matchRoute matches a path against an exact route or one with stars.
func matchRoute(pattern, route string) bool {
	return pattern == route || wildcard.Is(pattern) && wildcard.Match(pattern, route)
}

// permits reads one flag of a key's permissions object. They are small and read
// on management routes only.
func permits(permissions []byte, name string) bool {
	i := strings.Index(string(permissions), `"`+name+`"`)
	if i < 0 {
		return false
	}
	rest := strings.TrimLeft(string(permissions[i+len(name)+2:]), " :\t\n")
	return strings.HasPrefix(rest, "true")
}
