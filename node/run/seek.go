package run

import (
	"context"
	"net"
	"slices"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
)

const (
	// seekEvery is how often a node that has met nobody asks again.
	seekEvery = 2 * time.Second
	// seekWithin bounds a round, however many addresses there are.
	seekWithin = 5 * time.Second
)

// seek asks at the addresses that the operator gave, with join or --peers, who
// lives there, as long as this node meets nobody. When all machines come back
// under other addresses at once, what each of them knew of the others is wrong,
// and without a leader nobody can tell the new ones.
func (p *place) seek(ctx context.Context, pool *gossip.Pool) error {
	given := slices.Concat(p.n.o.Join, p.n.o.Peers)
	if len(given) == 0 {
		return nil
	}
	again := time.NewTicker(seekEvery)
	defer again.Stop()
	for {
		select {
		case <-again.C: // first let the addresses that are known be tried
		case <-ctx.Done():
			return nil
		}
		if len(p.otherIDs()) == 0 {
			p.seekOnce(ctx, pool, given)
		}
	}
}

func (p *place) seekOnce(ctx context.Context, pool *gossip.Pool, given []string) {
	ctx, cancel := context.WithTimeout(ctx, seekWithin)
	defer cancel()
	p.mu.Lock()
	id := p.identity
	p.mu.Unlock()
	for _, addr := range resolved(ctx, given) {
		who, err := join.Who(ctx, p.n.port.DialJoin, id, addr)
		if err != nil {
			p.n.log.Debug("nobody of the cluster at a given address", "addr", addr, "error", err)
			continue
		}
		if who.ID == p.n.identity.NodeID || p.allowed(who.ID) != nil {
			continue
		}
		p.n.log.Info("member found at a given address", "node", who.ID, "addr", who.Addr)
		p.n.port.Book().Set(who.ID, who.Addr)
		if _, err := pool.Join(ctx, []string{who.ID + "/" + who.Addr}); err != nil {
			p.n.log.Debug("gossip with a member not begun", "node", who.ID, "error", err) // it is tried again
		}
	}
}

// resolved are addresses with one entry for each machine behind a name: an
// orchestrator gives all replicas one.
func resolved(ctx context.Context, addrs []string) []string {
	var out []string
	for _, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			continue // the options were checked
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			if at := net.JoinHostPort(ip, port); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out
}
