package run

import (
	"log/slog"
	"sync"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/health"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// upstreamHealth joins what calls learn of deployments with what other nodes
// tell of them, under the operator's rules.
type upstreamHealth struct {
	view  *health.View
	state state.Getter
	box   *secret.Box // its key names credentials, alike on all nodes
	log   *slog.Logger

	mu     sync.RWMutex // guards the fields below
	of     *state.Routing
	facts  map[factsOf]*facts
	cooled map[cooledBy]uint64 // how often
}

// factsOf names a deployment in one routing. Those behind wildcards are made
// anew for each call, and differ in their credential at most.
type factsOf struct{ id, provider, key string }

// facts is what the routing says of a deployment's health: how it is asked
// about, and how many failures of which class it is allowed.
type facts struct {
	ref     health.Ref
	allowed map[string]int
}

// cooledBy is a deployment and the status for which it came to rest.
type cooledBy struct {
	at     endpoint
	status int
}

// openHealth makes the view. Gossip is joined later; until then it is this
// node's alone.
func (n *node) openHealth() error {
	view, err := health.New(health.Config{
		Node: n.identity.NodeID, Incarnation: n.identity.Incarnation, Region: n.o.Region,
		Peers: func() []health.Peer { return health.PeersOf(n.place.members()) }, Clock: n.clock, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.health = &upstreamHealth{view: view, state: n.store, box: n.box, log: n.log, cooled: map[cooledBy]uint64{}}
	n.metrics.MustRegister(&conditions{n.health})
	return nil
}

// feed lets others hear of it and hears of others. The pool must not run yet.
func (h *upstreamHealth) feed(pool *gossip.Pool) *health.Feed {
	return health.NewFeed(h.view, pool, h.log)
}

// Cooling reports a deployment that had better be left alone.
func (h *upstreamHealth) Cooling(d *state.Deployment) (time.Time, string, bool) {
	if h.view.Calm() {
		return time.Time{}, "", false
	}
	r := h.state.State().Routing
	if r == nil || r.Config.Router.DisableCooldowns {
		return time.Time{}, "", false
	}
	return h.view.Cooling(h.about(r, d).ref)
}

// Hearsay reports a deployment that only other nodes have found to fail.
func (h *upstreamHealth) Hearsay(d *state.Deployment) bool {
	r := h.state.State().Routing
	return r != nil && h.view.Hearsay(h.about(r, d).ref)
}

// Report takes in how an attempt went.
func (h *upstreamHealth) Report(d *state.Deployment, o route.Outcome) {
	r := h.state.State().Routing
	if r == nil {
		return
	}
	f := h.about(r, d)
	p := f.ref.Policy
	if r.Config.Router.DisableCooldowns {
		p.Never = true
	}
	for _, key := range allowedKeys(o.Class) {
		if n, stated := f.allowed[key]; stated {
			p.Allowed = n
			break
		}
	}
	rests := h.view.Report(health.Observation{
		Deployment: f.ref.Deployment, Credential: f.ref.Credential, Outcome: outcomes[o.Kind], Policy: p,
		ResetIn: o.Reset, Latency: o.Latency, FirstToken: o.FirstToken, Tokens: o.Tokens, Late: o.Late,
	})
	if rests {
		h.log.Warn("deployment rests", "model_id", d.ID, "model", d.Group, "reason", o.Kind.String(), "status", o.Status)
		h.mu.Lock()
		h.cooled[cooledBy{endpointOf(d), o.Status}]++
		h.mu.Unlock()
	}
}

var outcomes = [...]health.Outcome{
	route.OK: health.OK, route.RateLimited: health.RateLimited, route.Quota: health.Quota, route.Auth: health.Auth,
	route.ServerError: health.ServerError, route.Timeout: health.Timeout, route.Connect: health.Connect, route.NotFound: health.NotFound,
}

// Latency is in seconds for each token and to the first one.
func (h *upstreamHealth) Latency(id string) (perToken, firstToken float64, ok bool) {
	l := h.view.Latency(id)
	return l.PerToken.Seconds(), l.FirstToken.Seconds(), l.PerToken > 0 || l.FirstToken > 0
}

// Others is what the other nodes ask of a deployment at present.
func (h *upstreamHealth) Others(id string) (requests, tokens int64, inFlight int) {
	w := h.view.Others(id)
	return w.Requests, w.Tokens, int(w.InFlight)
}

// tell has the others hear what this node's router asks of deployments.
func (h *upstreamHealth) tell(router *route.Router, now func() time.Time) {
	h.view.UsageFrom(func(yield func(health.Usage) bool) {
		minute := now().Truncate(time.Minute)
		router.Usage(func(u route.Usage) bool {
			return yield(health.Usage{Deployment: u.ID, Minute: minute, Requests: u.Requests, Tokens: u.Tokens, InFlight: int64(u.InFlight)})
		})
	})
}

// about is what the routing says of a deployment. Finding it out costs more
// than a call may, so it is kept as long as the routing is the same.
func (h *upstreamHealth) about(r *state.Routing, d *state.Deployment) *facts {
	of := factsOf{d.ID, d.Provider, d.APIKey}
	h.mu.RLock()
	f, same := h.facts[of], h.of == r
	h.mu.RUnlock()
	if f != nil && same {
		return f
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != r {
		h.of, h.facts = r, map[factsOf]*facts{}
	}
	f = &facts{ref: health.Ref{Deployment: d.ID, Policy: policyOf(r, d)}, allowed: r.Config.Router.AllowedFailsPolicy}
	if key, err := h.box.Derive("credential names"); err == nil { // without a data key there are no credentials
		f.ref.Credential = health.CredentialName(key, d.Provider, d.APIKey)
	}
	h.facts[of] = f
	return f
}

// defaultAllowedFails is LiteLLM's own number: whoever writes it has written
// nothing.
const defaultAllowedFails = 3

// policyOf is what the configuration says of a deployment's rests.
func policyOf(r *state.Routing, d *state.Deployment) health.Policy {
	router, general := &r.Config.Router, &r.Config.LiteLLM
	p := health.Policy{Never: d.Group == "*", Alone: siblings(r, d) < 2, Allowed: defaultAllowedFails}
	for _, n := range []*int{general.AllowedFails, router.AllowedFails} {
		if n != nil {
			p.Allowed = *n
		}
	}
	p.Counted = p.Allowed != defaultAllowedFails || len(router.AllowedFailsPolicy) > 0
	for _, t := range []*float64{general.CooldownTime, router.CooldownTime} {
		if t != nil {
			p.Rest = restOf(*t)
		}
	}
	if d.Cooldown != nil {
		p.Rest, p.Fixed, p.Never = *d.Cooldown, true, p.Never || *d.Cooldown <= 0
	}
	return p
}

func restOf(seconds float64) time.Duration {
	if seconds <= 0 {
		return -1
	}
	return time.Duration(min(seconds, maxRest) * float64(time.Second))
}

// maxRest is a year: longer ones would leave the range of durations.
const maxRest = 365 * 24 * 3600

// siblings is how many deployments share the load of one's group, it included.
func siblings(r *state.Routing, d *state.Deployment) int {
	var list []*state.Deployment
	if g, ok := r.Groups[d.Group]; ok {
		list = g.Deployments
	}
	for _, p := range r.Patterns {
		if list == nil && p.Name == d.Group {
			list = p.Deployments
		}
	}
	n := 0
	for _, other := range list {
		if other.Problem == "" {
			n++
		}
	}
	return n
}

// serverErrors is what allowed_fails_policy calls failures of the server, of all
// kinds that it does not name otherwise.
const serverErrors = "InternalServerErrorAllowedFails"

// allowedKeys are what allowed_fails_policy calls failures of a class, the
// strongest first.
func allowedKeys(c provider.Class) []string {
	switch c {
	case provider.Timeout:
		return []string{"TimeoutErrorAllowedFails"}
	case provider.BadGateway, provider.ServiceUnavailable:
		return []string{string(c) + "AllowedFails", serverErrors}
	case provider.APIConnection, provider.APIError:
		return []string{serverErrors}
	}
	return []string{string(c) + "AllowedFails"}
}

var (
	_ route.Health    = (*upstreamHealth)(nil)
	_ route.Load      = (*upstreamHealth)(nil)
	_ route.Latencies = (*upstreamHealth)(nil)
	_ route.Hearsay   = (*upstreamHealth)(nil)
)
