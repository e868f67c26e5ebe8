package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/join"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
)

// enter finds the node's place: a used directory restarts, an empty one joins,
// forms a cluster with others, or starts one of its own.
func (n *node) enter(ctx context.Context) error {
	p := n.place
	used, err := cluster.HasState(n.o.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.o.DataDir, err)
	}
	id, err := p.files.Identity(n.identity.NodeID, n.clock.Now())
	var expired *join.ExpiredError
	switch {
	case err == nil && n.identity.ClusterID != "":
		if !used && p.known.Lived && len(p.known.Members) > 1 {
			// What it has voted for and acknowledged stood there.
			return fmt.Errorf("data directory %s: the node has lost its log: remove %s too and join as a new node; the ledger is kept, and `tollgate forget %s` on another node takes the old one out",
				n.o.DataDir, n.o.path(join.Dir), n.identity.NodeID)
		}
		return p.restart(ctx, id) // also after a join that broke off before the first entry
	case used && errors.Is(err, join.ErrNotJoined) && len(p.known.Members) <= 1:
		p.founder = true // alone, or the directory of a release that knew no clusters
		return nil
	case used && (errors.As(err, &expired) || errors.Is(err, join.ErrNotJoined)):
		return p.renew(ctx, err)
	case used && err != nil:
		return err
	}
	if n.identity.ClusterID != "" { // what it was a member of is gone
		if err := n.identity.Anew(); err != nil {
			return err
		}
	}
	switch {
	case len(n.o.Join) > 0:
		return p.join(ctx, n.o.Join, n.o.Token)
	case n.o.Expect > 1:
		return p.form(ctx)
	}
	if was, err := os.ReadFile(n.o.path(leftFile)); err == nil {
		return fmt.Errorf("data directory %s: this node has left cluster %s: join one with `tollgate join`, or remove %s to start a new cluster",
			n.o.DataDir, strings.TrimSpace(string(was)), n.o.path(leftFile))
	}
	p.founder = true
	return nil
}

// leftFile marks the directory of a node that has left: a service manager that
// starts it again must not make it the first node of a cluster that nobody wants.
const leftFile = "left"

// restart takes up the place that the directory tells of.
func (p *place) restart(ctx context.Context, id *join.Identity) error {
	n := p.n
	if token, err := join.ParseToken(n.o.Token); err == nil && !token.Invites(id) {
		return fmt.Errorf("data directory %s: it holds a node of cluster %s, and the token is of another cluster: name another directory, or let this node leave its cluster first",
			n.o.DataDir, n.identity.ClusterID)
	}
	if len(n.o.Join) > 0 {
		n.log.Info("the data directory holds a node already: it restarts and joins nothing", "cluster", n.identity.ClusterID)
	}
	p.founder = len(p.known.Members) <= 1
	if me, ok := p.known.Peer(n.identity.NodeID); ok && me.Role != "" {
		p.role = me.Role
	}
	if err := p.identify(id, p.known.Generation); err != nil {
		return err
	}
	err := join.CheckAlone(ctx, join.Alone{Self: p.whoami(), Peers: p.known, Dial: n.port.DialJoin, Call: n.port, Identity: id})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.o.DataDir, err)
	}
	return nil
}

// renew restarts a node whose certificate has run out, because it was off for so
// long, or was lost: it signs for itself with the authority that it has kept, or
// a token or the cluster's secret vouches for it. A node that is alone waits
// until it leads.
func (p *place) renew(ctx context.Context, fault error) error {
	if len(p.known.Members) <= 1 {
		p.founder = true
		return nil
	}
	kek, err := loadKEK(p.n.o.Env, p.n.o.DataDir)
	if err != nil {
		return err
	}
	mended, err := p.files.Mend(p.n.identity.ClusterID, p.n.identity.NodeID, secret.NewBox(kek), p.n.clock.Now())
	if err == nil {
		p.n.log.Warn("the node's certificate is signed anew", "because", fault)
		return p.restart(ctx, mended)
	}
	if !errors.Is(err, join.ErrNotJoined) {
		p.n.log.Error("certificate not signed anew", "error", err)
	}
	addrs, token := p.n.o.Join, p.n.o.Token
	if token == "" && p.secret == nil {
		return fault
	}
	for _, m := range p.known.Members {
		if m.ID != p.n.identity.NodeID {
			addrs = append(slices.Clip(addrs), m.Addr)
		}
	}
	p.n.log.Warn("the node's certificate is of no use: joining again under the same id", "because", fault)
	if err := p.join(ctx, addrs, token); err != nil {
		return errors.Join(fault, err)
	}
	return nil
}

// join becomes a member through any of the addresses.
func (p *place) join(ctx context.Context, addrs []string, token string) error {
	r, err := p.request(addrs, token)
	if err != nil {
		return err
	}
	welcome, err := join.Join(ctx, r)
	if err != nil {
		return fmt.Errorf("join %s: %w", strings.Join(addrs, ", "), err)
	}
	return p.accept(welcome)
}

// request is what this node brings to join: a token, or the cluster's secret.
func (p *place) request(addrs []string, token string) (join.Request, error) {
	n := p.n
	key, err := p.files.Key()
	if err != nil {
		return join.Request{}, err
	}
	r := join.Request{
		Dial: n.port.DialJoin, Addrs: addrs, Token: token, Node: p.self(), Key: key,
		ClusterID: n.identity.ClusterID, Generation: p.known.Generation,
		Patience: joinPatience, Logger: n.log, Clock: n.clock,
	}
	if token == "" {
		r.Secret = p.secret
	} else {
		r.Node.Role = "" // the token says
	}
	return r, nil
}

// joinPatience is how long a cluster that has no leader for the moment is tried.
const joinPatience = 30 * time.Second

// form starts a cluster together with others that start as this one does, or
// joins the one that they have by now.
func (p *place) form(ctx context.Context) error {
	n := p.n
	former, err := join.NewFormer(join.FormConfig{
		NodeID: n.identity.NodeID, Nonce: p.nonce, Expect: n.o.Expect, Peers: n.o.Peers, Secret: p.secret,
		Memo: p.files, Dial: n.port.DialJoin, Logger: n.log,
		Join: func(ctx context.Context, addrs []string) (*join.Welcome, error) {
			r, err := p.request(addrs, "")
			if err != nil {
				return nil, err
			}
			return join.Join(ctx, r)
		},
	})
	if err != nil {
		return err
	}
	p.former = former
	p.serveJoins(nil)
	out, err := former.Run(ctx)
	if err != nil {
		return err
	}
	if out.Found {
		p.founder = true
		n.log.Info("this node founds the cluster", "node", n.identity.NodeID, "expected", n.o.Expect)
		return nil
	}
	return p.accept(out.Welcome)
}

// accept makes durable what a join brought and takes the place it gives. The
// key that opens the state comes first, the cluster's id last: until it is there
// a join that broke off is repeated under the same id, and takes up what it was
// given.
func (p *place) accept(w *join.Welcome) error {
	n := p.n
	if w.KEK != "" {
		if err := p.keepKEK(w.KEK); err != nil {
			return err
		}
	}
	if err := p.files.Accept(w); err != nil {
		return err
	}
	if err := n.identity.SetCluster(w.ClusterID); err != nil {
		return err
	}
	id, err := p.files.Identity(n.identity.NodeID, n.clock.Now())
	if err != nil {
		return err
	}
	if p.known, err = p.files.Peers(); err != nil {
		return err
	}
	for _, m := range w.Members {
		n.port.Book().Set(m.ID, m.Addr)
	}
	if err := os.Remove(n.o.path(leftFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unmark the data directory: %w", err)
	}
	p.joined, p.role, p.least = true, w.Node.Role, w.StateIndex
	n.log.Info("joined", "cluster", w.ClusterID, "node", n.identity.NodeID, "role", string(p.role), "members", len(w.Members))
	return p.identify(id, w.Generation)
}

// keepKEK keeps the key that opens the cluster's secrets, unless the operator
// gives this node the same.
func (p *place) keepKEK(exported string) error {
	n := p.n
	text := n.env("TOLLGATE_KEK")
	if text == "" {
		text = n.env("LITELLM_SALT_KEY")
	}
	if text != "" {
		given, err := secret.KEKFromText(text)
		if err != nil {
			return err
		}
		if given.Export(given.Fingerprint()) == exported {
			return nil
		}
		n.log.Warn("LITELLM_SALT_KEY of this node is not the cluster's: the cluster's is kept in the data directory", "file", n.o.path(secret.KEKFile))
	}
	return secret.StoreKEK(n.o.DataDir, exported)
}

// identify shows this identity to the others from now on.
func (p *place) identify(id *join.Identity, generation uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.n.port.SetIdentity(peer.Identity{
		ClusterID: p.n.identity.ClusterID, Generation: generation, NodeID: id.NodeID, Certificate: id.Certificate, Roots: id.Roots,
	})
	if err != nil {
		return fmt.Errorf("show the node's certificate: %w", err)
	}
	first := p.identity == nil
	p.identity, p.generation = id, generation
	if first {
		close(p.identified)
	}
	return nil
}

// found makes the cluster's certificate authority, on its first leader, and
// this node's certificate where there is none that is good.
func (p *place) found(ctx context.Context) error {
	o := p.opened.Load()
	if o == nil {
		return errors.New("the state is not open yet")
	}
	p.founding.Lock() // a new leader and a start may come at once
	defer p.founding.Unlock()
	id, err := join.Found(ctx, join.Founder{
		ClusterID: p.n.identity.ClusterID, Node: p.self(), State: o.cluster.Membership, Submit: o.cluster.SubmitMembership,
		Box: o.box, Store: p.files, Logger: p.n.log, Clock: p.n.clock,
	})
	if err != nil {
		return err
	}
	return p.identify(id, o.cluster.Membership().Generation)
}
