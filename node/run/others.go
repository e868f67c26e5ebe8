package run

import (
	"context"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
)

func (p *place) openGossip(ctx context.Context) (*gossip.Pool, error) {
	n := p.n
	raw, primary, err := p.gossipKeys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []gossip.Key
	for _, k := range raw {
		key := gossip.Key{ID: k.ID, Secret: [32]byte(k.Key)}
		if k.ID == primary {
			keys = append([]gossip.Key{key}, keys...)
		} else {
			keys = append(keys, key)
		}
	}
	self := p.self()
	pool, err := gossip.New(gossip.Config{
		Transport: n.port.Gossip(), Keys: keys, Label: n.identity.ClusterID,
		Meta: gossip.Meta{
			NodeID: self.ID, Incarnation: self.Incarnation, Name: self.Name, Region: self.Region, Zone: self.Zone,
			Addr: self.Addr, API: self.API, Build: self.Build, FeatureMin: self.FeatureMin, FeatureMax: self.FeatureMax, Witness: p.witness(),
		},
		Status: p.status, Peers: p.peers, OnConflict: p.conflict, Logger: n.log, Clock: n.clock, Registerer: n.metrics,
	})
	if err != nil {
		return nil, err
	}
	pool.OnChange(p.met)
	n.hearCounts(pool)
	p.pool.Store(pool)
	return pool, nil
}

// gossipKeys are those that the node has kept. Were they lost, the state has
// them: raft finds the others without gossip.
func (p *place) gossipKeys(ctx context.Context) (keys []join.RawKey, primary string, err error) {
	keys, primary, err = p.files.Keys()
	if err != nil || len(keys) > 0 {
		return keys, primary, err
	}
	p.n.log.Warn("the node has lost its gossip keys: waiting for the state, which has them")
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		o := p.opened.Load()
		if s := o.cluster.Membership(); len(s.Keys) > 0 && o.box.Ready() {
			return join.OpenKeys(s, o.box)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
}

// members is gossip's view of the cluster.
func (p *place) members() []gossip.Member {
	if pool := p.pool.Load(); pool != nil {
		return pool.Members()
	}
	return nil
}

// alive reports whether a node seems to be there.
func (p *place) alive(id string) bool {
	if pool := p.pool.Load(); pool != nil {
		m, ok := pool.Lookup(id)
		return ok && m.State == gossip.Alive
	}
	return false
}

// majority reports whether most voters seem to be there, this node included.
func (p *place) majority() bool {
	voters, there := 0, 0
	for _, s := range p.n.cluster.Servers() {
		if !s.Voter {
			continue
		}
		voters++
		if s.ID == p.n.identity.NodeID || p.alive(s.ID) {
			there++
		}
	}
	return there > voters/2
}

// met hears of changes in gossip: where nodes are, and who is there.
func (p *place) met(list []gossip.Member) {
	o := p.opened.Load()
	for _, m := range list {
		if m.State != gossip.Alive || m.Addr == "" {
			continue
		}
		// One that was taken out may gossip on: it is no member for all that.
		if why, _, removed := o.cluster.Membership().Removed(m.NodeID); removed && !p.sayingBye(m.NodeID, why) {
			if pool := p.pool.Load(); pool != nil {
				pool.Forget(m.NodeID)
			}
			continue
		}
		p.n.port.Book().Set(m.NodeID, m.Addr)
	}
	o.cluster.Replan()
	p.lookAnew()
}

// lookAnew gives the rate limiter a new view of who is there.
func (p *place) lookAnew() {
	if p.n.limits.Load() != nil {
		p.n.peers.look()
	}
}

// peers are the members that gossip tries to reach, as it names them.
func (p *place) peers() []string {
	var out []string
	for id, addr := range p.n.port.Book().All() {
		if id != p.n.identity.NodeID {
			out = append(out, id+"/"+addr)
		}
	}
	return out
}

func (p *place) otherIDs() []string {
	var out []string
	for _, m := range p.members() {
		if m.NodeID != p.n.identity.NodeID && m.State == gossip.Alive {
			out = append(out, m.NodeID)
		}
	}
	return out
}

// status are this node's figures for the others.
func (p *place) status() gossip.Status {
	var s gossip.Status
	o := p.opened.Load()
	if o == nil {
		return s
	}
	s.Applied, s.LeaderAge = o.cluster.Applied(), o.cluster.Staleness()
	s.ConfigHash = short(p.n.configHash())
	if f := p.n.figures.Load(); f != nil {
		s.InFlight = f.calls.InFlight()
		st := f.ledger.Stats()
		s.LedgerBacklog, s.DiskFree = int64(st.Open), max(st.MaxBytes-st.Bytes, 0)
	}
	return s
}

// nudge has the membership looked at again. It never waits: the goroutine that
// applies commands calls it.
func (p *place) nudge() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// ring brings the gossip ring to what the members have agreed on.
func (p *place) ring(s *members.State, pool *gossip.Pool) error {
	keys, primary, err := join.OpenKeys(s, p.opened.Load().box)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, k := range keys {
		wanted[k.ID] = true
		if err := pool.InstallKey(gossip.Key{ID: k.ID, Secret: [32]byte(k.Key)}); err != nil {
			return err
		}
	}
	if err := pool.UseKey(primary); err != nil {
		return err
	}
	if me, ok := pool.Lookup(p.n.identity.NodeID); ok {
		for _, id := range me.KeyIDs {
			if !wanted[id] {
				if err := pool.RemoveKey(id); err != nil {
					return err
				}
			}
		}
	}
	return p.files.SaveKeys(keys, primary)
}

// conflict hears from gossip that two processes go by one id. Of two that go by
// this node's, one must end.
func (p *place) conflict(id, addrA, addrB string) {
	n := p.n
	n.log.Warn("two processes go by one node id", "node", id, "address", addrA, "other", addrB)
	o := p.opened.Load()
	if id != n.identity.NodeID || o == nil {
		return
	}
	other := join.Whoami{ID: id, Addr: addrB}
	if addrB == n.port.Advertise() {
		other.Addr = addrA
	}
	if err := join.Conflict(o.cluster.Membership(), p.whoami(), other); err != nil {
		n.leave(err)
	}
}
