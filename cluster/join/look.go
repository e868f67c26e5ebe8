package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// view is what one look at all peers has shown.
type view struct {
	self     string
	seen     map[string]sighting // machines without a cluster, by id
	at       map[string]string   // where
	silent   int                 // machines that did not answer
	clusters map[string][]string // addresses by cluster
	ready    []string            // addresses that let others in
	founded  string              // a node that is about to have a cluster
	unsure   string              // an address that refuses to say
	copied   error               // another process with this node's id
	twins    error               // two others with one id
}

// able reports whether this node may try to found: enough others see it, as
// they say themselves, and no group as large could do without it.
func (v *view) able(expect int) bool {
	mutual := 0
	for _, s := range v.seen {
		if slices.Contains(s.Sees, v.self) {
			mutual++
		}
	}
	return mutual+1 >= expect && !v.doubtful(expect)
}

// best is the smallest id that is able to found, "" if there is none.
func (v *view) best(expect int) string {
	best := ""
	if v.able(expect) {
		best = v.self
	}
	for _, s := range v.seen {
		if s.Able && (best == "" || s.ID < best) {
			best = s.ID
		}
	}
	return best
}

// doubtful reports whether anything was seen that forbids founding.
func (v *view) doubtful(expect int) bool {
	return v.couldSplit(expect) || v.unsure != "" || v.twins != nil || v.copied != nil || len(v.clusters) > 0 || v.founded != ""
}

// universe is how many machines there may be: this one, those seen, those that
// others see, and those that are silent.
func (v *view) universe() int {
	ids := map[string]bool{v.self: true}
	for _, s := range v.seen {
		ids[s.ID] = true
		for _, id := range s.Sees {
			ids[id] = true
		}
	}
	return len(ids) + v.silent
}

// couldSplit reports whether two groups that are large enough fit side by side.
func (v *view) couldSplit(expect int) bool { return 2*expect <= v.universe() }

// look asks every peer, for a promise if claim is not 0.
func (f *Former) look(ctx context.Context, claim uint64) *view {
	peers, addrs := f.addresses(ctx)
	answers := make([]*sighting, len(addrs))
	faults := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeWithin)
			defer cancel()
			p := &probe{ID: f.cfg.NodeID, Nonce: f.cfg.Nonce, Expect: f.cfg.Expect, Claim: claim}
			answers[i], faults[i] = f.chat(ctx, addr, p)
		})
	}
	wg.Wait()
	v := &view{self: f.cfg.NodeID, seen: map[string]sighting{}, at: map[string]string{}, clusters: map[string][]string{}}
	byAddr := make(map[string]string, len(addrs)) // ids
	for i, addr := range addrs {
		f.note(addr, faults[i])
		var r *Refusal
		switch {
		case faults[i] == nil:
			byAddr[addr] = answers[i].ID
			v.add(addr, *answers[i], f.cfg.Nonce)
		case errors.As(faults[i], &r), errors.Is(faults[i], ErrUnproven):
			v.unsure = addr
		}
	}
	for _, p := range peers {
		v.silent += p.silent(byAddr)
	}
	able := v.able(f.cfg.Expect)
	f.mu.Lock()
	f.seen, f.able = v.seen, able
	f.mu.Unlock()
	return v
}

func (v *view) add(addr string, s sighting, nonce string) {
	if s.ID == v.self {
		if s.Nonce != nonce {
			v.copied = &CopyError{Whoami{ID: s.ID, Addr: addr}}
		}
		return
	}
	if s.ClusterID != "" {
		v.clusters[s.ClusterID] = append(v.clusters[s.ClusterID], addr)
		if s.Ready {
			v.ready = append(v.ready, addr)
		}
		return
	}
	if s.Founded {
		v.founded = s.ID
	}
	if other, ok := v.seen[s.ID]; ok && other.Nonce != s.Nonce {
		v.twins = fmt.Errorf("node %s runs at %s and at %s: one data directory is a copy of the other: empty it", s.ID, v.at[s.ID], addr)
	}
	v.seen[s.ID], v.at[s.ID] = s, addr
}

// note logs what is wrong with a peer when it changes.
func (f *Former) note(addr string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == f.fault[addr] {
		return
	}
	f.fault[addr] = text
	var r *Refusal
	switch {
	case err == nil:
		f.cfg.Logger.Info("peer answers", "addr", addr)
	case errors.As(err, &r), errors.Is(err, ErrUnproven):
		f.cfg.Logger.Warn("peer does not take part", "addr", addr, "error", err)
	default:
		f.cfg.Logger.Info("peer does not answer yet", "addr", addr, "error", err)
	}
}

// peerAddrs are the addresses of one peer as named. A name may stand for many
// machines, and a machine may have an address of each family.
type peerAddrs []string

// silent is how many machines behind the name did not answer.
func (p peerAddrs) silent(answered map[string]string) int {
	ids := map[string]bool{}
	four, six := 0, 0
	for _, addr := range p {
		if id, ok := answered[addr]; ok {
			ids[id] = true
		}
		if host, _, err := net.SplitHostPort(addr); err == nil && strings.Contains(host, ":") {
			six++
		} else {
			four++
		}
	}
	return max(max(four, six)-len(ids), 0)
}

// addresses are the peers with their names resolved, and all addresses once.
func (f *Former) addresses(ctx context.Context) (peers []peerAddrs, all []string) {
	named := slices.Clone(f.cfg.Peers)
	slices.Sort(named)
	for _, p := range slices.Compact(named) {
		if p == f.cfg.Self {
			continue
		}
		addrs := peerAddrs{p}
		host, port, err := net.SplitHostPort(p)
		if err == nil && net.ParseIP(host) == nil {
			// Unresolved it counts as one that is silent.
			if ips, err := f.cfg.Resolve(ctx, host); err == nil && len(ips) > 0 {
				addrs = nil
				for _, ip := range ips {
					addrs = append(addrs, net.JoinHostPort(ip, port))
				}
			}
		}
		peers = append(peers, addrs)
		all = append(all, addrs...)
	}
	slices.Sort(all)
	return peers, slices.Compact(all)
}

// dial asks one peer over a join connection; both sides prove the secret.
func (f *Former) dial(ctx context.Context, addr string, p *probe) (*sighting, error) {
	conn, err := f.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // what was said is said
	got, err := talk(ctx, conn, f.cfg.Secret, &ask{Op: askProbe, Probe: p})
	if err != nil {
		return nil, err
	}
	if got.Seen == nil || got.Seen.ID == "" {
		return nil, errors.New("it does not say who it is: the node there is of another release")
	}
	return got.Seen, nil
}

// sighting answers a probe: what this node has, or what it is forming.
func (s *Server) sighting(p *probe) (*sighting, *Refusal) {
	me := s.whoami()
	if id := s.ClusterID(); id != "" {
		_, notReady := s.ready()
		return &sighting{ID: me.ID, Nonce: me.NonceSum, ClusterID: id, Ready: notReady == nil}, nil
	}
	if s.Former == nil {
		return nil, refuse(CodeForming, "node %s belongs to no cluster and forms none: start it with --expect, or let it join", me.ID)
	}
	return s.Former.answer(p), nil
}
