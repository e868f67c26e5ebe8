package clusterapi

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// Deps are what the operators' API works with.
type Deps struct {
	Cluster Cluster
	State   state.Getter
	// Unavailable turns an error that is no Fault into what the caller is told.
	Unavailable func(error) *refusal.Refusal
	Logger      *slog.Logger
	Clock       unit.Clock
}

// Handler serves /cluster/*.
type Handler struct {
	Deps
	routes map[string]map[string]handler
}

// handler serves one route. What it returns is written by the server; on
// success it has answered through c.
type handler func(c *call) *refusal.Refusal

// New checks the dependencies and builds the route table.
func New(d Deps) (*Handler, error) {
	var faults []error
	need := func(ok bool, name string) {
		if !ok {
			faults = append(faults, errors.New("the operators' API needs "+name))
		}
	}
	need(d.Cluster != nil, "a cluster")
	need(d.State != nil, "a state")
	need(d.Unavailable != nil, "a mapping of outages")
	need(d.Logger != nil, "a logger")
	need(d.Clock != nil, "a clock")
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Handler{Deps: d, routes: table()}, nil
}

// versionRoute is the one route that carries something in its path.
const versionRoute = "/cluster/config/{}"

// table is every route with its methods.
func table() map[string]map[string]handler {
	get := func(h handler) map[string]handler { return map[string]handler{"GET": h} }
	post := func(h handler) map[string]handler { return map[string]handler{"POST": h} }
	return map[string]map[string]handler{
		"/cluster/members":             get((*call).members),
		"/cluster/status":              get((*call).status),
		"/cluster/tokens":              {"GET": (*call).tokens, "POST": (*call).createToken, "DELETE": (*call).revokeToken},
		"/cluster/token":               post((*call).createToken),
		"/cluster/drain":               post((*call).drain),
		"/cluster/leave":               post((*call).leave),
		"/cluster/forget":              post((*call).forget),
		"/cluster/transfer-leadership": post((*call).transferLeadership),
		"/cluster/config":              get((*call).config),
		versionRoute:                   get((*call).configVersion),
		"/cluster/config/history":      get((*call).configHistory),
		"/cluster/config/rollback":     post((*call).configRollback),
		"/cluster/config/diff":         {"GET": (*call).configDiff, "POST": (*call).configDiff},
		"/cluster/config/apply":        post((*call).configApply),
		"/cluster/secrets/rotate":      {"GET": (*call).rotation, "POST": (*call).rotateSecrets},
		"/cluster/secrets/finish":      post((*call).finishRotation),
		"/cluster/gossip/rotate":       post((*call).rotateGossipKey),
		"/cluster/import/litellm":      {"GET": (*call).showImport, "POST": (*call).startImport},
		backupRoute:                    get((*call).backup),
	}
}

// Handle serves a route of ours; ok is false when the path is none. The caller
// has identified p. A refusal that comes back is written by the caller;
// everything else is already in ctx.
func (h *Handler) Handle(ctx *fasthttp.RequestCtx, p *auth.Principal) (ok bool, r *refusal.Refusal) {
	path := string(ctx.Path())
	methods, route, param := h.find(path)
	if methods == nil {
		return false, nil
	}
	method := string(ctx.Method())
	serve := methods[method]
	if serve == nil {
		r = &refusal.Refusal{Status: 405, Message: "Method Not Allowed", Detail: true}
		return true, r.With("allow", strings.Join(h.Methods(path), ", "))
	}
	c := &call{h: h, ctx: ctx, p: p, route: route, param: param}
	if r = c.mayCall(method); r != nil {
		return true, r
	}
	if r = serve(c); r == answered {
		r = nil
	}
	return true, r
}

// Methods lists what a path of ours answers to, in a fixed order; empty when
// the path is none of ours.
func (h *Handler) Methods(path string) []string {
	methods, _, _ := h.find(path)
	var out []string
	for _, m := range []string{"GET", "POST", "DELETE"} {
		if methods[m] != nil {
			out = append(out, m)
		}
	}
	return out
}

func (h *Handler) find(path string) (methods map[string]handler, route, param string) {
	if m := h.routes[path]; m != nil && path != versionRoute {
		return m, path, ""
	}
	rest, ok := strings.CutPrefix(path, "/cluster/config/")
	if !ok || rest == "" || strings.Contains(rest, "/") {
		return nil, "", ""
	}
	return h.routes[versionRoute], versionRoute, rest
}

// mayCall admits proxy admins, and viewers where nothing is changed. A backup
// is more than a look: whoever has it has the hash of every key, so it is for
// those who could make one anyway.
func (c *call) mayCall(method string) *refusal.Refusal {
	if c.p.Admin() || c.p.Role == auth.RoleAdminViewer && method == "GET" && c.route != backupRoute {
		return nil
	}
	return refusal.New(403, "auth_error", refusal.None, "Authentication Error, Only proxy admins may operate the cluster: "+
		"use the master key or a key of a user with user_role="+auth.RoleAdmin+". Route="+string(c.ctx.Path())+
		". Your role="+c.p.Role+". Your user_id="+c.p.UserID())
}
