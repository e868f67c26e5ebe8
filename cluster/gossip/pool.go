package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"tollgate/config/unit"
)

// Config is what a Pool is made of.
type Config struct {
	Transport memberlist.NodeAwareTransport
	Meta      Meta // NodeID and Incarnation stay as they are
	// Keys are the gossip ring, the one to send with first.
	Keys []Key
	// Label is the cluster id: packets of another cluster are refused.
	Label string
	// Status gives this node's figures, each StatusEvery (1 s).
	Status      func() Status
	StatusEvery time.Duration
	// Peers are members as "id/host:port" that are tried again and again while
	// they do not seem alive: so the sides of a healed partition, and nodes that
	// all started anew, find each other. Nil: nobody.
	Peers func() []string
	// OnConflict hears that two processes go by one node id, at most once a
	// minute for each; addrB is the newcomer's. It runs on OnChange's goroutine.
	OnConflict func(id, addrA, addrB string)
	Logger     *slog.Logger
	Clock      unit.Clock
	Registerer prometheus.Registerer // nil: no metrics
}

// Pool is this node's part in the gossip.
type Pool struct {
	messages

	self        string
	incarnation uint64
	cfg         Config
	log         *slog.Logger
	clock       unit.Clock
	metrics     *metrics
	table       *table
	ring        *ring
	conflicts   *conflicts
	listeners   []func([]Member)

	list    atomic.Pointer[memberlist.Memberlist] // nil before Run
	started chan struct{}                         // closed when list is set, or never will be
	closing chan struct{}
	ended   chan struct{}
	close   sync.Once
	running atomic.Bool
	leaving atomic.Bool

	metaMu    sync.Mutex // guards meta
	meta      Meta
	metaBytes atomic.Pointer[[]byte]
	metaNews  chan struct{} // cap 1
}

// ErrClosed says that the pool no longer runs, or never did.
var ErrClosed = errors.New("gossip is closed")

// New checks the config and makes a pool. Nothing is sent before Run.
func New(cfg Config) (*Pool, error) {
	if cfg.StatusEvery <= 0 {
		cfg.StatusEvery = time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Status == nil {
		cfg.Status = func() Status { return Status{} }
	}
	if cfg.Transport == nil {
		return nil, errors.New("gossip needs a transport")
	}
	if len(cfg.Label) == 0 || len(cfg.Label) > 32 {
		return nil, fmt.Errorf("the gossip label is the cluster id, 1 to 32 bytes: got %d", len(cfg.Label))
	}
	ring, err := newRing(cfg.Keys)
	if err != nil {
		return nil, err
	}
	cfg.Meta.KeyID, cfg.Meta.KeyIDs = ring.ids()
	encoded, err := cfg.Meta.encode()
	if err != nil {
		return nil, fmt.Errorf("facts of this node for the gossip: %w", err)
	}
	p := &Pool{
		self: cfg.Meta.NodeID, incarnation: cfg.Meta.Incarnation, cfg: cfg,
		log: cfg.Logger.With("component", "gossip"), clock: cfg.Clock,
		table: newTable(cfg.Meta, cfg.Clock), ring: ring, meta: cfg.Meta,
		started: make(chan struct{}), closing: make(chan struct{}), ended: make(chan struct{}),
		metaNews: make(chan struct{}, 1),
	}
	p.metaBytes.Store(&encoded)
	p.inlets = make(map[Kind]*inlet)
	p.windows = make(map[windowKey]*window)
	p.conflicts = newConflicts(p.self, p.incarnation, cfg.Clock)
	p.relay.NumNodes = func() int { return len(p.table.current.Load().alive) + 1 }
	// Each node passes an event on 8 times (16 from ten nodes on). With 4, one
	// event in ten misses somebody among eight nodes, if its origin's own packets
	// reach but one of them.
	p.relay.RetransmitMult = 8
	if p.metrics, err = newMetrics(cfg.Registerer, p); err != nil {
		return nil, err
	}
	return p, nil
}

// settings lie between memberlist's profiles for one network and for many: a
// gateway has tens of nodes, and they may be on other continents.
func (p *Pool) settings() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = p.self
	c.Transport = p.cfg.Transport
	c.Label = p.cfg.Label
	c.RequireNodeNames = true
	c.ProbeInterval = time.Second
	c.ProbeTimeout = 900 * time.Millisecond // the longest way around the world and back
	c.SuspicionMult = 4
	c.SuspicionMaxTimeoutMult = 4
	// A node that hears from few probes ever more slowly, up to this factor. At
	// memberlist's 8 the smaller side of a partition needs most of a minute to see
	// how small it is, and its limits shrink only then.
	c.AwarenessMaxMultiplier = 3
	c.GossipInterval = 200 * time.Millisecond
	c.GossipNodes = 3
	c.PushPullInterval = 30 * time.Second
	c.TCPTimeout = 10 * time.Second
	c.EnableCompression = false // LZW on packets of varints is work for nothing
	c.UDPBufferSize = 1400
	c.HandoffQueueDepth = 4096
	c.DeadNodeReclaimTime = 30 * time.Second // a restarted node may come back elsewhere
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.Keyring = p.ring.keys
	c.Logger = log.New(&lines{log: p.log, clock: p.clock, metrics: p.metrics}, "", 0)
	c.LogOutput = nil
	d := delegate{p}
	c.Delegate, c.Events, c.Conflict, c.Ping, c.Alive = d, d, d, d, d
	return c
}

// Run takes part until the context ends, Close is called or memberlist cannot
// start. It has stopped all it began when it returns; memberlist's own probes
// may outlast it by their timeouts.
func (p *Pool) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("gossip runs already")
	}
	defer close(p.ended)
	ml, err := memberlist.Create(p.settings())
	if err != nil {
		close(p.started)
		return fmt.Errorf("start gossip: %w", err)
	}
	p.list.Store(ml)
	close(p.started)

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){p.tellStatus, p.tellMeta, p.tellChanges, p.refresh, p.rejoin} {
		wg.Go(func() { loop(ctx) })
	}
	for _, in := range p.inlets {
		wg.Go(func() { in.serve(ctx) })
	}
	select {
	case <-ctx.Done():
	case <-p.closing:
	}
	cancel()
	err = ml.Shutdown()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// Close ends Run and waits for it.
func (p *Pool) Close() {
	p.close.Do(func() { close(p.closing) })
	if p.running.Load() {
		<-p.ended
	}
}

// Members are all that is known, this node included, sorted by id: who is alive
// and who went or died lately. Nobody may change the slice.
func (p *Pool) Members() []Member { return p.table.current.Load().members }

// Lookup finds one member.
func (p *Pool) Lookup(id string) (Member, bool) {
	v := p.table.current.Load()
	i, known := v.index[id]
	if !known {
		return Member{}, false
	}
	return v.members[i], true
}

// OnChange has f called with the members after they have changed: who came or
// went, or facts of a node; figures do not count. Several changes may be told
// as one. Register before Run.
func (p *Pool) OnChange(f func([]Member)) { p.listeners = append(p.listeners, f) }

// SetMeta changes this node's facts and tells all. The id, the incarnation and
// the keys are not its to change.
func (p *Pool) SetMeta(change func(*Meta)) error {
	p.metaMu.Lock()
	defer p.metaMu.Unlock()
	meta := p.meta
	change(&meta)
	meta.NodeID, meta.Incarnation = p.self, p.incarnation
	meta.KeyID, meta.KeyIDs = p.ring.ids()
	encoded, err := meta.encode()
	if err != nil {
		return fmt.Errorf("facts of this node for the gossip: %w", err)
	}
	p.meta = meta
	p.metaBytes.Store(&encoded)
	p.table.setSelf(meta)
	select {
	case p.metaNews <- struct{}{}:
	default:
	}
	return nil
}

// Forget bars a node that was taken out of the cluster: it is no member any
// more, whatever is heard of it. It still has the gossip keys, so it may well go
// on talking, and a rotation of the keys must not wait for it. Ids are not used
// twice, so there is no way back.
func (p *Pool) Forget(id string) { p.table.bar(id) }

// tellMeta spreads changed facts, twice: memberlist's own rumours miss a node
// once in a thousand times among few, and then it is half a minute to the next
// exchange of states.
func (p *Pool) tellMeta(ctx context.Context) {
	again := time.NewTimer(0)
	<-again.C
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.metaNews:
			again.Reset(time.Second)
		case <-again.C:
		}
		if err := p.list.Load().UpdateNode(2 * time.Second); err != nil {
			p.log.Debug("facts not yet told", "error", err) // later gossip carries them
		}
	}
}

// tellStatus sends this node's figures to all, each period.
func (p *Pool) tellStatus(ctx context.Context) {
	every(ctx, p.cfg.StatusEvery, func() {
		if p.leaving.Load() {
			return
		}
		s := p.cfg.Status()
		body := s.encode()
		raw, err := p.frameOf(KindStatus, body)
		if err != nil {
			return
		}
		seq := p.seqs[KindStatus].Load()
		p.table.status(p.self, uint32(p.incarnation), seq, s, p.clock.Now(), true)
		if err := p.toAll(KindStatus, raw); err != nil {
			p.log.Debug("status not sent to all", "error", err)
		}
	})
}

// refresh makes new figures visible a few times a second, and not once for each
// message: a view of all members is made each time.
func (p *Pool) refresh(ctx context.Context) {
	every(ctx, 250*time.Millisecond, p.table.refresh)
}

// tellChanges calls the listeners, all on this goroutine.
func (p *Pool) tellChanges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.table.changed:
			members := p.Members()
			for _, f := range p.listeners {
				f(members)
			}
		case c := <-p.conflicts.found:
			p.log.Error("two processes go by one node id: stop one; a copied data directory must get a new node id by joining anew", "node", c.id, "addr", c.addrA, "other", c.addrB)
			if p.cfg.OnConflict != nil {
				p.cfg.OnConflict(c.id, c.addrA, c.addrB)
			}
		}
	}
}

// every calls f at once and then each period until the context ends.
func every(ctx context.Context, period time.Duration, f func()) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
