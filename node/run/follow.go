package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/config/secret"
)

// run keeps the node in touch with the others until ctx ends: gossip, the
// address book, the gossip keys and the certificate.
func (p *place) run(ctx context.Context) error {
	select {
	case <-p.identified: // a founder's comes with its first term
	case <-ctx.Done():
		return nil
	}
	pool, err := p.openGossip(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	o := p.opened.Load()
	renewer := &join.Renewer{
		NodeID: p.n.identity.NodeID, Store: p.files, State: o.cluster.Membership, Submit: o.cluster.SubmitMembership, Box: o.box,
		Call: p.n.port, Others: p.otherIDs, Logger: p.n.log, Clock: p.n.clock,
		Renewed: func(id *join.Identity) error { return p.identify(id, o.cluster.Membership().Generation) },
	}
	feed := p.n.health.feed(pool)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return feed.Run(ctx) })
	group.Go(func() error { return pool.Run(ctx) })
	group.Go(func() error { return p.follow(ctx, pool) })
	group.Go(func() error { return renewer.Run(ctx) })
	group.Go(func() error { return p.seek(ctx, pool) })
	return group.Wait()
}

// follow does what a changed membership asks of this node.
func (p *place) follow(ctx context.Context, pool *gossip.Pool) error {
	for {
		o := p.opened.Load()
		s := o.cluster.Membership()
		if s.Len() > 0 {
			if err := p.adopt(s); err != nil {
				p.n.log.Error("the node's notes of the cluster are not kept", "error", err)
			}
			p.lookAnew()
			if err := p.ring(s, pool); err != nil {
				p.n.log.Error("gossip keys not taken over", "error", err)
			}
			if err := p.keepAuthority(s); err != nil {
				p.n.log.Error("the certificate authority is not kept: after an outage longer than certificates live this node cannot start", "error", err)
			}
			if err := join.Superseded(s, p.n.identity.NodeID, p.nonce, p.n.identity.Incarnation); err != nil {
				p.n.leave(err)
			}
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// adopt takes over addresses, generation and who may speak.
func (p *place) adopt(s *members.State) error {
	n := p.n
	listed := map[string]bool{}
	for _, m := range s.Nodes() {
		listed[m.ID] = true
		if !p.alive(m.ID) { // gossip knows better where a live node is
			n.port.Book().Set(m.ID, m.Addr)
		}
	}
	for id := range n.port.Book().All() {
		if listed[id] {
			continue
		}
		if why, _, removed := s.Removed(id); removed {
			if p.sayingBye(id, why) {
				time.AfterFunc(byeTime, p.nudge)
				continue
			}
			n.port.Book().Delete(id)
			n.port.Sever(id)
			if pool := p.pool.Load(); pool != nil {
				pool.Forget(id)
			}
		}
	}
	err := p.rise(s)
	// A state without this start may be older than what the node knew when it
	// started: it is being read from the log.
	if me, ok := s.Node(n.identity.NodeID); ok && me.Nonce == p.nonce {
		known := join.PeersOf(n.identity.ClusterID, s.Generation, s.Nodes())
		known.Lived = true
		p.mu.Lock()
		p.known = known
		p.mu.Unlock()
		err = errors.Join(err, p.files.SavePeers(known))
	}
	n.port.Recheck()
	return err
}

// rise shows the generation of the state, once it is a later one.
func (p *place) rise(s *members.State) error {
	p.mu.Lock()
	id, later := p.identity, s.Generation > p.generation
	p.mu.Unlock()
	if id == nil || !later {
		return nil
	}
	return p.identify(id, s.Generation)
}

// keepAuthority keeps the authority for a start after a long outage, anew
// whenever it or the key over it has changed.
func (p *place) keepAuthority(s *members.State) error {
	o := p.opened.Load()
	if s.CA == nil {
		return nil
	}
	spare := secret.NewBox(o.box.KEK())
	mark := s.CA.Cert + o.box.KEK().Fingerprint()
	if p.keptFor == mark {
		return nil
	}
	if err := p.files.KeepAuthority(p.n.identity.ClusterID, s, o.box, spare); err != nil {
		return err
	}
	p.keptFor = mark
	return nil
}
