package run

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
)

// place is the node's place among others: how it found its cluster, who it is
// to them, and who they are.
type place struct {
	n       *node
	nonce   string // of this start
	started time.Time
	files   *join.Store
	joins   atomic.Pointer[join.Server]
	former  *join.Former // nil: not started with --expect
	secret  []byte       // key of the cluster's secret; nil: there is none

	founder bool         // this start begins a cluster
	joined  bool         // this start has joined one
	role    members.Role // as admitted
	least   uint64       // index that the node must have applied before it serves

	opened  atomic.Pointer[opened]
	pool    atomic.Pointer[gossip.Pool]
	company atomic.Bool   // another node has been met
	leaving atomic.Bool   // this node takes its leave
	changed chan struct{} // the membership has changed
	keptFor string        // authority and key that were kept last; of the goroutine that follows

	founding sync.Mutex // held while the authority and this node's certificate are made

	mu         sync.Mutex // guards the fields below
	known      join.Peers // as last kept
	generation uint64     // shown to others
	identity   *join.Identity
	identified chan struct{}        // closed with the first identity
	parted     map[string]time.Time // nodes that have left, and since when this one knows
	refusedBy  map[string]bool      // nodes that say that this one is no member
}

// opened is what others may ask for once it is there.
type opened struct {
	cluster *cluster.Node
	box     *secret.Box
}

// openPort binds the cluster port. It serves nothing but joins until the node
// has found its place.
func (n *node) openPort() error {
	p := &place{n: n, nonce: rand.Text(), started: n.clock.Now(), role: members.RoleNode,
		changed: make(chan struct{}, 1), identified: make(chan struct{}), parted: map[string]time.Time{}, refusedBy: map[string]bool{}}
	var err error
	if p.files, err = join.OpenStore(n.o.DataDir); err != nil {
		return err
	}
	if p.known, err = p.files.Peers(); err != nil {
		return err
	}
	p.generation = p.known.Generation
	if text := n.clusterSecret(); text != "" {
		if p.secret, err = join.SecretKey(text); err != nil {
			return err
		}
	}
	book := peer.NewBook()
	for _, m := range p.known.Members {
		book.Set(m.ID, m.Addr)
	}
	n.port, err = peer.Listen(peer.Config{
		Addr: n.o.ClusterListen, Advertise: n.o.Advertise, Book: book, Logger: n.log, Registerer: n.metrics, Clock: n.clock,
	})
	if err != nil {
		return fmt.Errorf("--cluster-listen %s: %w", n.o.ClusterListen, err)
	}
	n.place = p
	p.serveJoins(nil)
	n.port.OnJoin(func(ctx context.Context, c *tls.Conn) { p.joins.Load().Serve(ctx, c) })
	n.port.SetAllow(p.allowed)
	n.port.OnRefused(p.refused)
	n.handleSecrets()
	n.hearLimits()
	n.hearAnswers()
	return nil
}

// clusterSecret is what nodes that start together prove themselves by.
func (n *node) clusterSecret() string {
	if n.o.ClusterSecret != "" {
		return n.o.ClusterSecret
	}
	if n.loaded.MasterKey != "" {
		return n.loaded.MasterKey
	}
	return n.env("LITELLM_MASTER_KEY")
}

// serveJoins lets others in from now on, as far as this node can: without a box
// it only says that there is nothing to join yet.
func (p *place) serveJoins(box *secret.Box) {
	s := join.NewServer(p.joinDeps(box))
	s.Handle(p.n.port)
	p.joins.Store(s)
}

func (p *place) joinDeps(box *secret.Box) join.Deps {
	n := p.n
	// Before the state is open there is nobody who could be let in.
	ask := func(f func(o *opened) string) func() string {
		return func() string {
			if o := p.opened.Load(); o != nil {
				return f(o)
			}
			return ""
		}
	}
	return join.Deps{
		ClusterID: ask(func(o *opened) string { return o.cluster.Status().ClusterID }),
		State: func() *members.State {
			if o := p.opened.Load(); o != nil {
				return o.cluster.Membership()
			}
			return nil
		},
		Submit: func(ctx context.Context, c *members.Command) (members.Result, error) {
			o := p.opened.Load()
			if o == nil {
				return members.Result{}, cluster.ErrNoQuorum
			}
			return o.cluster.SubmitMembership(ctx, c)
		},
		Index: func(ctx context.Context) (uint64, error) {
			o := p.opened.Load()
			if o == nil {
				return 0, cluster.ErrNoQuorum
			}
			_, err := o.cluster.Wait(ctx, cluster.Consistency{Level: cluster.Leader})
			return o.cluster.Applied(), err
		},
		Alive: p.alive,
		Self:  p.whoami,
		Box:   box,
		KEK: ask(func(o *opened) string {
			current, _ := o.cluster.KEKs()
			return o.box.KEK().Export(current)
		}),
		MasterKeyHash: ask(func(*opened) string { return n.masterHash() }),
		ConfigHash:    ask(func(*opened) string { return n.configHash() }),
		Secret:        p.secret, Former: p.former, Caller: n.port, Logger: n.log, Clock: n.clock,
	}
}

func (p *place) whoami() join.Whoami {
	return join.Whoami{ID: p.n.identity.NodeID, Incarnation: p.n.identity.Incarnation, NonceSum: join.SumNonce(p.nonce),
		Addr: p.n.port.Advertise(), StartedAt: p.started}
}

// self is this node as the members know it.
func (p *place) self() members.Node {
	n := p.n
	return members.Node{
		ID: n.identity.NodeID, Name: n.o.Name, Region: n.o.Region, Zone: n.o.Zone, Role: p.role,
		Addr: n.port.Advertise(), API: p.api(), Build: n.o.Version, Incarnation: n.identity.Incarnation, Nonce: p.nonce,
		FeatureMin: cluster.FeatureMin, FeatureMax: cluster.FeatureMax,
	}
}

// api is where people reach this node's API: a listener on all addresses is
// reached where the cluster port is.
func (p *place) api() string {
	if p.witness() {
		return ""
	}
	host, port, err := net.SplitHostPort(p.n.listener.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if advertised, _, err := net.SplitHostPort(p.n.port.Advertise()); err == nil {
			host = advertised
		}
	}
	return net.JoinHostPort(host, port)
}

func (p *place) witness() bool { return p.role == members.RoleWitness }
