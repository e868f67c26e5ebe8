package run

import (
	"log/slog"
	"sync"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/health"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/proxy/route"
)

// upstreamHealth joins what calls learn of deployments with what other nodes
// tell of them.
type upstreamHealth struct {
	view  *health.View
	state state.Getter
	box   *secret.Box // its key names credentials, alike on all nodes
	log   *slog.Logger

	mu    sync.RWMutex // guards the fields below
	of    *state.Routing
	names map[*state.Deployment]string
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
	n.health = &upstreamHealth{view: view, state: n.store, box: n.box, log: n.log}
	return nil
}

// feed lets others hear of it and hears of others. The pool must not run yet.
func (h *upstreamHealth) feed(pool *gossip.Pool) *health.Feed {
	return health.NewFeed(h.view, pool, h.log)
}

// Cooling reports a deployment that had better be left alone.
func (h *upstreamHealth) Cooling(d *state.Deployment) (time.Time, string, bool) {
	if h.disabled() {
		return time.Time{}, "", false
	}
	return h.view.Cooling(d.ID, h.credential(d))
}

// Report takes in how an attempt went.
func (h *upstreamHealth) Report(d *state.Deployment, o route.Outcome) {
	if h.disabled() {
		return
	}
	h.view.Report(health.Observation{
		Deployment: d.ID, Credential: h.credential(d), Outcome: outcomes[o.Kind],
		ResetIn: o.Reset, Latency: o.Latency, FirstToken: o.FirstToken,
	})
}

var outcomes = map[route.Kind]health.Outcome{
	route.OK: health.OK, route.RateLimited: health.RateLimited, route.Quota: health.Quota, route.Auth: health.Auth,
	route.ServerError: health.ServerError, route.Timeout: health.Timeout, route.Connect: health.Connect,
}

// disabled is the operator's wish to leave nothing alone.
func (h *upstreamHealth) disabled() bool {
	r := h.state.State().Routing
	return r == nil || r.Config.Router.DisableCooldowns
}

// credential names what a deployment shows its provider. Making the name costs
// more than a call may, so it is kept as long as the routing is the same.
func (h *upstreamHealth) credential(d *state.Deployment) string {
	now := h.state.State().Routing
	h.mu.RLock()
	name, ok := h.names[d]
	same := h.of == now
	h.mu.RUnlock()
	if ok && same {
		return name
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != now {
		h.of, h.names = now, map[*state.Deployment]string{}
	}
	key, err := h.box.Derive("credential names")
	if err != nil {
		return "" // there is no data key yet, so there are no credentials
	}
	name = health.CredentialName(key, d.Provider, d.APIKey)
	h.names[d] = name
	return name
}

var _ route.Health = (*upstreamHealth)(nil)
