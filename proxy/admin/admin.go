// Package admin is the management API: keys, users, teams, budgets, customers,
// models and the reading of spend, in LiteLLM's routes and shapes. It decodes,
// checks who may do what, validates every field, and submits one mutation per
// call. It keeps no state of its own, talks to no cluster and no ledger but
// through what it is given, and never sees a model call.
package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/verify"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// Deps are what the management API works with.
type Deps struct {
	State state.Getter
	// Mutate submits one mutation and returns when this node sees its effect.
	Mutate func(ctx context.Context, m model.Mutation) (model.Result, error)
	// Unavailable turns an error of Mutate into what the caller is told.
	Unavailable func(error) *refusal.Refusal
	// Revoked waits until every reachable node has applied index and names the
	// nodes that had not when time ran out. Nil: nothing to wait for.
	Revoked func(ctx context.Context, index uint64) (behind []string)
	// Consistent brings this node to a state as new as a level (Local, Leader or
	// Linearizable) and an index (0: any) ask for, and says how long ago it last
	// heard of the leader, also with an error. Nil: this node is alone and has all
	// there is.
	Consistent func(ctx context.Context, level string, minIndex uint64) (stale time.Duration, err error)
	// SealAnswer and OpenAnswer seal and open the secret in an answer that a
	// repeated write must get on any node. Nil: a key is shown by the node that
	// made it, or not again.
	SealAnswer func(entity, plain string) (sealed string, err error)
	OpenAnswer func(entity, sealed string) (plain string, err error)
	// Anew reports whether every node knows budgets that begin with their owner's
	// making; nil: all do.
	Anew   func() bool
	Spend  Spend
	Limits Limits // nil: what limits have left is not shown
	Audit  Audit  // nil: the audit log is empty
	Cache  Cache  // nil: no answers are kept
	Checks Checks // nil: nothing is kept of models' health checks
	// SealDeployment resolves environment references in a deployment's
	// parameters and seals the secrets among them, in place. Nil refuses
	// deployments that bring secrets.
	SealDeployment func(d *model.Deployment) error
	// IsSecret says which parameters of a deployment are never shown; nil uses
	// the rule by which config.yaml is sealed.
	IsSecret func(name string) bool
	// CountTokens estimates the tokens of a text; nil uses a quarter of its bytes.
	CountTokens func(model, text string) int64
	// Verify recounts the books; nil: it cannot be asked for.
	Verify func(ctx context.Context) (*verify.Report, error)
	// Explain tells what would become of a model call; known is false for routes
	// that are none of models. Nil: it cannot be asked for.
	Explain func(ctx context.Context, q Rehearsal) (answer any, known bool)
	// Flushes says that calls are written to PostgreSQL, from which spend is then
	// answered.
	Flushes bool
	// Regions are those that nodes are in, for warnings of misspelt ones; nil:
	// nobody is warned.
	Regions func() []string
	// MasterKeyHash is the SHA-256 of the master key, lowercase hex.
	MasterKeyHash func() string
	Clock         unit.Clock
	Logger        *slog.Logger
	Rand          io.Reader
}

// Admin serves the management routes.
type Admin struct {
	Deps
	routes  map[string]map[string]handler
	answers *answers
	// verifying says that the books are being recounted: once at a time is enough
	// for the disk.
	verifying atomic.Bool
}

// handler serves one route. What it returns is written by the server; on
// success it has answered through c.
type handler func(c *call) *refusal.Refusal

// New checks the dependencies and builds the route table.
func New(d Deps) (*Admin, error) {
	var faults []error
	need := func(ok bool, name string) {
		if !ok {
			faults = append(faults, errors.New("admin needs "+name))
		}
	}
	need(d.State != nil, "a state")
	need(d.Mutate != nil, "a way to submit mutations")
	need(d.Unavailable != nil, "a mapping of submission errors")
	need(d.Spend != nil, "a spend source")
	need(d.Clock != nil, "a clock")
	need(d.Logger != nil, "a logger")
	need(d.Rand != nil, "a source of randomness")
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if d.IsSecret == nil {
		d.IsSecret = file.IsSecretParam
	}
	if d.CountTokens == nil {
		d.CountTokens = func(_, text string) int64 { return int64(len(text)+3) / 4 }
	}
	a := &Admin{Deps: d, answers: newAnswers(d.Clock)}
	a.routes = a.table()
	return a, nil
}

// Handle serves a management route; ok is false when the path is none of ours.
// The caller has identified p and checked p.MayCallRoute. A refusal that comes
// back is written by the caller; everything else is already in ctx.
func (a *Admin) Handle(ctx *fasthttp.RequestCtx, p *auth.Principal) (ok bool, r *refusal.Refusal) {
	path := string(ctx.Path())
	methods, route, param, found := a.find(path)
	if !found {
		return false, nil
	}
	// Replaced by the index of what is answered from, or of the write.
	written(ctx, a.State.State().Index)
	h, found := methods[string(ctx.Method())]
	if !found {
		ctx.Response.Header.Set("allow", strings.Join(a.Methods(path), ", "))
		return true, &refusal.Refusal{Status: 405, Message: "Method Not Allowed", Detail: true}
	}
	newest, r := a.freshen(ctx, readsOnly(string(ctx.Method()), route))
	if r != nil {
		return true, r
	}
	c := &call{a: a, ctx: ctx, p: p, path: path, route: route, param: param}
	r = c.serve(h)
	// A caller without the right may have it by newer state, and so is asked for
	// anew by whoever identified it. Of objects we know better ourselves.
	if r != nil && r.Liftable && !newest && r.Status != fasthttp.StatusForbidden && a.Consistent != nil {
		moved, behind := a.catchUp(c)
		switch {
		case behind != nil:
			r = behind
		case moved:
			r = c.serve(h)
		}
		newest = true
	}
	if r != nil && r.Liftable {
		r.Liftable = !newest || r.Status == fasthttp.StatusForbidden
	}
	return true, r
}

// Methods lists what a path of ours answers to, in a fixed order; empty when
// the path is none of ours.
func (a *Admin) Methods(path string) []string {
	methods, _, _, _ := a.find(path)
	var out []string
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if methods[m] != nil {
			out = append(out, m)
		}
	}
	return out
}

// find looks a path up: exactly, else as one of the few routes that carry an
// id between their first and last part, or at the end. Those stand in the table
// with {}.
func (a *Admin) find(path string) (methods map[string]handler, route, param string, ok bool) {
	if m, ok := a.routes[path]; ok {
		return m, path, "", true
	}
	if len(path) < 2 || path[0] != '/' {
		return nil, "", "", false
	}
	first := strings.IndexByte(path[1:], '/') + 1
	last := strings.LastIndexByte(path, '/')
	if first <= 0 {
		return nil, "", "", false
	}
	if last > first+1 {
		route = path[:first] + "/{}" + path[last:]
		if m, ok := a.routes[route]; ok {
			return m, route, path[first+1 : last], true
		}
	}
	route = path[:last] + "/{}"
	m, ok := a.routes[route]
	return m, route, path[last+1:], ok
}
