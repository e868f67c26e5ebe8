package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/limiter/budget"
	"tollgate/proxy/clusterapi"
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

// awaitCluster waits until the node is a member that knows what it must know.
func (n *node) awaitCluster(ctx context.Context) error {
	p := n.place
	told := time.AfterFunc(10*time.Second, func() {
		n.log.Info("waiting for a leader: a majority of the voters must be there", "voters", n.cluster.Status().Voters)
	})
	defer told.Stop()
	if err := n.cluster.WaitReady(ctx); err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	select {
	case <-p.identified:
	default:
		if err := p.found(ctx); err != nil {
			return err
		}
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.cluster.WaitApplied(ctx, p.least); err != nil {
		return fmt.Errorf("catch up with the cluster: %w", err)
	}
	return n.holdsKEK()
}

// errFormerKEK ends a start with a key that was changed since.
var errFormerKEK = errors.New("the cluster's secrets are sealed under another key since `tollgate secrets finish`: " +
	"start with the LITELLM_SALT_KEY or TOLLGATE_KEK that the other nodes have now")

// holdsKEK refuses a start without the key that the cluster's secrets are sealed
// under now. A node whose own log begins before the change has read in there what
// the former key opened, and could serve until its next snapshot: it would find out
// at some later start, when nobody thinks of the change any more.
func (n *node) holdsKEK() error {
	current, former := n.cluster.KEKs()
	if current == "" || former != "" || n.box.KEK().Export(current) != "" {
		return nil
	}
	return errFormerKEK
}

// register tells the cluster of this start. Leaders come and go while a whole
// cluster starts: only what is final ends the attempts.
func (n *node) register(ctx context.Context) error {
	return n.insist(ctx, "register this start", func() error {
		_, err := n.cluster.Register(ctx, n.place.self())
		return err
	})
}

// insistEvery is the pause between attempts at what a starting node needs.
const insistEvery = 500 * time.Millisecond

// insist repeats what a starting node needs of the cluster while only a leader
// is missing.
func (n *node) insist(ctx context.Context, what string, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if !passing(err) || ctx.Err() != nil {
			return err
		}
		if !told {
			n.log.Warn("the start waits for the cluster", "to", what, "error", err)
		}
		select {
		case <-time.After(insistEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// passing reports whether the same may succeed in a moment.
func passing(err error) bool {
	for _, passes := range []error{cluster.ErrNoQuorum, cluster.ErrNotLeader, cluster.ErrBusy, cluster.ErrOutcomeUnknown, cluster.ErrPeerFailed} {
		if errors.Is(err, passes) {
			return true
		}
	}
	var other *model.Refused // somebody else's change came first
	return errors.As(err, &other) && other.Have > 0
}

// lonely says why this node does not reach the others, nil when it does.
func (p *place) lonely() error {
	if p.opened.Load().cluster.Membership().Len() <= 1 {
		return nil
	}
	if p.company.Load() || len(p.otherIDs()) > 0 {
		p.company.Store(true) // a node that is cut off later goes on serving
		return nil
	}
	return errors.New("no other node has been met yet")
}

// bearWitness is all that a witness does: it votes.
func (n *node) bearWitness(ctx context.Context) error {
	n.audits.without()
	n.starting.end()
	n.closeListener()
	n.announceWitness()
	<-ctx.Done()
	return nil
}

// whyLeft is what the members remember of a node that went in order.
const whyLeft = "left"

// takeLeave takes the node out of the cluster for good.
func (n *node) takeLeave(ctx context.Context) error {
	n.place.leaving.Store(true)
	if n.account != nil {
		if err := n.account.Leave(ctx); err != nil {
			return fmt.Errorf("give back what this node holds of budgets: %w", err)
		}
	}
	r, err := n.cluster.SubmitMembership(ctx, &members.Command{Op: members.OpRemove, ID: n.identity.NodeID, Why: whyLeft})
	if err == nil {
		err = r.Err()
	}
	if _, still := n.cluster.Membership().Node(n.identity.NodeID); err != nil && still {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	n.log.Info("left the cluster", "cluster", n.identity.ClusterID)
	return nil
}

// heirWithin bounds how long a voter that leaves waits for another.
const heirWithin = 10 * time.Second

// awaitHeir waits until the others are a majority without this node's vote. The
// planner sees to it: the heir of an only voter gets a vote and leads, and then
// this node has none.
func (n *node) awaitHeir(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heirWithin)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		voters := 0
		self := false
		for _, s := range n.cluster.Servers() {
			if s.Voter {
				voters++
				self = self || s.ID == n.identity.NodeID
			}
		}
		if !self || voters > 2 {
			return nil
		}
		n.cluster.Replan()
		select {
		case <-look.C:
		case <-ctx.Done():
			return &clusterapi.Fault{Status: 409, Code: "no_heir", Message: "Without this node nobody could vote, and no other is ready to: see `tollgate members`, and try again when another has caught up."}
		}
	}
}

// sayDraining tells gossip that the node is about to stop, so that leadership,
// and where it is the only one its vote, go elsewhere first.
func (p *place) sayDraining() {
	if pool := p.pool.Load(); pool != nil {
		if err := pool.SetMeta(func(m *gossip.Meta) { m.Draining = true }); err != nil {
			p.n.log.Debug("draining not told", "error", err)
		}
	}
}

// sayBye tells gossip that the node goes in order.
func (p *place) sayBye() {
	if pool := p.pool.Load(); pool != nil {
		if err := pool.Leave(2 * time.Second); err != nil {
			p.n.log.Debug("gossip not left in order", "error", err)
		}
	}
}

// writeOff counts what a node that is gone for good held of budgets as spent.
func (n *node) writeOff(ctx context.Context, id string) error {
	payload := budget.AppendCommand(nil, &budget.Command{Op: budget.OpForget, Node: budget.NodeID(id)})
	a, err := n.proposeBudget(ctx, payload)
	if err != nil {
		return err
	}
	return a.Err
}
