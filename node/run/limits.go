package run

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/limiter/rate"
)

// methodLimits is how nodes ask each other for rate credit.
const methodLimits = "limits.ask"

// limitPeers are the other nodes as the rate limiter needs them: who is there,
// by the committed members and by gossip, and how to reach them.
type limitPeers struct {
	n    *node
	view atomic.Pointer[rate.View]

	mu    sync.Mutex           // guards since and making views
	since map[string]time.Time // when a member was first seen; zero: at the start
}

// newLimits makes the rate limiter and lets others ask it. Ids are keyed by
// what the nodes share and callers do not see: some come from requests.
func (n *node) newLimits() *rate.Limiter {
	n.peers = &limitPeers{n: n, since: map[string]time.Time{}}
	for _, m := range n.cluster.Membership().Nodes() {
		n.peers.since[m.ID] = time.Time{}
	}
	n.peers.look()
	seed := sha256.Sum256([]byte("limits of " + n.identity.ClusterID + authority(n.cluster.Membership())))
	limiter := rate.New(rate.Config{Clock: n.clock, Seed: [16]byte(seed[:16]), Peers: n.peers, Strict: func() bool {
		r := n.store.State().Routing
		return r != nil && r.Config.Tollgate.LimitsPartition == "strict"
	}})
	n.limits.Store(limiter)
	return limiter
}

func authority(s *members.State) string {
	if s.CA == nil {
		return ""
	}
	return s.CA.Cert
}

// look makes the view anew: membership or gossip has changed.
func (l *limitPeers) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.n
	v := &rate.View{Self: n.identity.NodeID}
	seen := map[string]gossip.Member{}
	for _, m := range n.place.members() {
		seen[m.NodeID] = m
	}
	for _, m := range n.cluster.Membership().Nodes() {
		if m.Role == members.RoleWitness {
			continue
		}
		since, known := l.since[m.ID]
		if !known {
			since = time.Now()
			l.since[m.ID] = since
		}
		g := seen[m.ID]
		v.Members = append(v.Members, rate.Member{
			ID: m.ID, Region: m.Region, Zone: m.Zone, Incarnation: m.Incarnation, Since: since,
			Alive: m.ID == v.Self || g.State == gossip.Alive, Draining: g.Draining,
		})
	}
	for id := range l.since { // one that comes again is new
		if !slices.ContainsFunc(v.Members, func(m rate.Member) bool { return m.ID == id }) {
			delete(l.since, id)
		}
	}
	l.view.Store(v)
}

// View is who is there.
func (l *limitPeers) View() *rate.View { return l.view.Load() }

// Ask calls another node.
func (l *limitPeers) Ask(ctx context.Context, node string, payload []byte) ([]byte, error) {
	return l.n.port.Call(ctx, node, methodLimits, payload)
}

// Counts sends what stands in for an owner that dies.
func (l *limitPeers) Counts(to string, payload []byte) {
	if pool := l.n.place.pool.Load(); pool != nil {
		_ = pool.Send(gossip.KindCounts, to, payload) // the next tick says it again
	}
}

// hearLimits joins the limiter to calls and gossip, before either serves. What
// comes before there is a limiter is refused or dropped: the sender asks again.
func (n *node) hearLimits() {
	n.port.Handle(methodLimits, func(ctx context.Context, from string, request []byte) ([]byte, error) {
		limiter := n.limits.Load()
		if limiter == nil {
			return nil, errStarting
		}
		return limiter.ServeAsk(ctx, from, request)
	})
}

func (n *node) hearCounts(pool *gossip.Pool) {
	pool.Receive(gossip.KindCounts, func(from string, inc uint32, seq uint64, body []byte) {
		if limiter := n.limits.Load(); limiter != nil {
			limiter.HearCounts(from, inc, seq, body)
		}
	})
}
