// Package health is what the nodes know together of the providers: which
// deployments and credentials rest for a while, and how fast the others answer.
// It takes in what this node saw and what others tell, and rules on both; it
// sends nothing (see Feed) and chooses no deployment.
//
// What a provider says of an account holds for all nodes; what a node sees of
// the way there is a hint to its region. Times between nodes are always "in how
// long", so that their clocks do not matter, and nothing that somebody else says
// holds for more than ten minutes.
package health

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/config/unit"
)

const (
	// maxLife ends whatever closes a deployment, however long it was said to last.
	maxLife = 10 * time.Minute
	// summaryLife is how long a summary counts: it comes each second.
	summaryLife = 5 * time.Second
	// probeLease is how long one caller has to try a half-open deployment before
	// another may.
	probeLease = time.Second
	// idleLife is how long a deployment without calls is remembered.
	idleLife = 10 * time.Minute
	// immunity is how long the region's word does not close again what this node
	// has just used with success.
	immunity = 10 * time.Second
)

// Peer is a node that is alive.
type Peer struct{ ID, Region string }

// Config is what a View is made of.
type Config struct {
	Node        string // id of this node
	Incarnation uint64
	Region      string
	// Peers are the nodes alive, this one included or not.
	Peers func() []Peer
	// ProbeEvery is half of how long the other nodes of a region wait for the
	// verdict of the one that tries first; 0: 5 s.
	ProbeEvery time.Duration
	// Rest is the cooldown of which neither provider nor operator say how long it
	// is (0: 5 s), AccountRest that of an exhausted account (0: 60 s).
	Rest, AccountRest time.Duration
	Clock             unit.Clock
	Registerer        prometheus.Registerer // nil: no metrics
}

// View is the health of the providers as this node knows it.
type View struct {
	cfg    Config
	clock  unit.Clock
	self   uint64 // short for the node id, in events
	locals [64]atomic.Pointer[map[ID]*local]
	snap   atomic.Pointer[snapshot]
	urgent chan struct{} // cap 1

	emit  atomic.Pointer[func(Notice)]
	usage atomic.Pointer[func(func(Usage) bool)]

	mu       sync.Mutex // guards the rest, and making snapshots
	events   uint64
	cools    map[ID]*cool
	breakers map[ID]*breaker
	remotes  map[ID]map[string]*remote
	figures  map[ID]map[string]*figure
	stopped  map[Event]time.Time // until when not to take it up again
	immune   map[ID]time.Time
}

// New makes a view. Tick must be called each second.
func New(cfg Config) (*View, error) {
	if cfg.Node == "" {
		return nil, errors.New("the health view needs this node's id")
	}
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Peers == nil {
		cfg.Peers = func() []Peer { return nil }
	}
	for _, d := range []struct {
		at *time.Duration
		is time.Duration
	}{{&cfg.ProbeEvery, 5 * time.Second}, {&cfg.Rest, 5 * time.Second}, {&cfg.AccountRest, time.Minute}} {
		if *d.at <= 0 {
			*d.at = d.is
		}
	}
	v := &View{
		cfg: cfg, clock: cfg.Clock, self: uint64(deploymentID(cfg.Node)), urgent: make(chan struct{}, 1),
		cools: make(map[ID]*cool), breakers: make(map[ID]*breaker), remotes: make(map[ID]map[string]*remote), figures: make(map[ID]map[string]*figure),
		stopped: make(map[Event]time.Time), immune: make(map[ID]time.Time),
	}
	v.snap.Store(&snapshot{})
	if cfg.Registerer != nil {
		for _, kind := range []string{"cooldown", "breaker"} {
			g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name:        "tollgate_upstream_closed",
				Help:        "Deployments and credentials that rest: by the provider's word (cooldown) or for failures on the way (breaker).",
				ConstLabels: prometheus.Labels{"kind": kind},
			}, func() float64 {
				s := v.snap.Load()
				if kind == "breaker" {
					return float64(len(s.gates))
				}
				return float64(len(s.cools))
			})
			if err := cfg.Registerer.Register(g); err != nil {
				return nil, fmt.Errorf("register health metrics: %w", err)
			}
		}
	}
	return v, nil
}

// Report takes in a call of this node's own, and tells whether the deployment
// rests from here on. For a call that went well while nothing rests it is a lock
// of the deployment's own and a few additions.
func (v *View) Report(o Observation) (rests bool) {
	if o.Deployment == "" || o.Outcome >= outcomes {
		return false
	}
	at := o.At
	if at.IsZero() {
		at = v.clock.Now()
	}
	id := deploymentID(o.Deployment)
	p := &o.Policy
	t := v.local(id).add(&o, at, p.memory(v.cfg.Rest))
	started := at.Add(-max(o.Latency, 0))
	if o.Outcome == OK {
		if !v.Calm() {
			v.recovered(id, o.Credential, started)
		}
		return false
	}
	if p.Never {
		return false
	}
	bad := p.closes(o.Outcome, t)
	lasts := p.lasts(o.ResetIn, v.cfg.Rest)
	switch {
	case o.Outcome.path():
		return v.failed(id, o.Outcome, started, bad, lasts)
	case o.Outcome == RateLimited || o.Outcome == NotFound:
		return bad && v.rest(id, o.Outcome, lasts, o.Outcome == RateLimited && o.ResetIn <= 0)
	}
	// What is said of an account holds for all that share it, also when this
	// deployment is asked all the same because it is alone.
	subject := id
	if o.Credential != "" {
		subject = credentialID(o.Credential)
	}
	if o.Outcome == Quota {
		bad, lasts = bad || !p.Counted, p.lasts(o.ResetIn, v.cfg.AccountRest)
	}
	return bad && v.rest(subject, o.Outcome, lasts, false) && !p.excuses(o.Outcome, false)
}

// Calm tells that nothing rests, for whoever has to ask about many.
func (v *View) Calm() bool {
	s := v.snap.Load()
	return len(s.cools) == 0 && len(s.gates) == 0
}

func (v *View) local(id ID) *local {
	shard := &v.locals[uint64(id)%uint64(len(v.locals))]
	if m := shard.Load(); m != nil {
		if l, known := (*m)[id]; known {
			return l
		}
	}
	for {
		old := shard.Load()
		next := make(map[ID]*local)
		if old != nil {
			if l, known := (*old)[id]; known {
				return l
			}
			for k, l := range *old {
				next[k] = l
			}
		}
		l := &local{}
		next[id] = l
		if shard.CompareAndSwap(old, &next) {
			return l
		}
	}
}

// lookup is local without making one.
func (v *View) lookup(id ID) *local {
	if m := v.locals[uint64(id)%uint64(len(v.locals))].Load(); m != nil {
		return (*m)[id]
	}
	return nil
}

// Summaries is what this node has seen lately, for the others.
func (v *View) Summaries() []Summary {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Summary
	for i := range v.locals {
		m := v.locals[i].Load()
		if m == nil {
			continue
		}
		for id, l := range *m {
			s, active := l.summary(id, now)
			if b := v.breakers[id]; b != nil && b.own && !b.released {
				s.Bad, s.Opened = true, max(now.Sub(b.opened), 0)
			}
			if active || s.Bad {
				out = append(out, s)
			}
		}
	}
	return out
}

// Urgent yields when the next summaries should not wait for their second.
func (v *View) Urgent() <-chan struct{} { return v.urgent }

func (v *View) hurry() {
	select {
	case v.urgent <- struct{}{}:
	default:
	}
}

// OnNotice has f called with each notice for the other nodes. It must not block.
func (v *View) OnNotice(f func(Notice)) { v.emit.Store(&f) }

func (v *View) tell(n *Notice) {
	if f := v.emit.Load(); n != nil && f != nil {
		(*f)(*n)
	}
}

// Tick ends what has run out and takes in who is alive now. Call it each second.
func (v *View) Tick() {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, c := range v.cools {
		if !now.Before(c.until) {
			delete(v.cools, id)
		}
	}
	for id, b := range v.breakers {
		if now.Sub(b.born) > max(maxLife, b.rest) {
			delete(v.breakers, id)
		}
	}
	for e, until := range v.stopped {
		if now.After(until) {
			delete(v.stopped, e)
		}
	}
	for id, until := range v.immune {
		if now.After(until) {
			delete(v.immune, id)
		}
	}
	for id, nodes := range v.remotes {
		for node, r := range nodes {
			if now.Sub(r.at) > summaryLife {
				delete(nodes, node)
			}
		}
		if len(nodes) == 0 {
			delete(v.remotes, id)
		}
	}
	v.dropFigures(now)
	v.dropIdle(now)
	v.publish(now)
}

func (v *View) dropIdle(now time.Time) {
	for i := range v.locals {
		old := v.locals[i].Load()
		if old == nil {
			continue
		}
		next := make(map[ID]*local, len(*old))
		for id, l := range *old {
			l.mu.Lock()
			idle := now.Sub(l.last) > idleLife
			l.mu.Unlock()
			if !idle {
				next[id] = l
			}
		}
		if len(next) < len(*old) {
			v.locals[i].CompareAndSwap(old, &next) // beaten by a newcomer: next time
		}
	}
}

// publish makes the snapshot that requests read.
func (v *View) publish(now time.Time) {
	s := &snapshot{}
	if len(v.cools) > 0 {
		s.cools = make(map[ID]closed, len(v.cools))
		for id, c := range v.cools {
			s.cools[id] = closed{c.until, c.reason}
		}
	}
	if len(v.breakers) > 0 {
		region := v.region()
		s.gates = make(map[ID]*gate, len(v.breakers))
		for id, b := range v.breakers {
			s.gates[id] = v.gateOf(id, b, region)
		}
	}
	s.regional = v.regionalLatencies(now)
	s.others = v.sumOthers(now)
	v.snap.Store(s)
}
