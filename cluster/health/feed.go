package health

import (
	"context"
	"log/slog"
	"time"

	"github.com/cespare/xxhash/v2"

	"tollgate/cluster/gossip"
)

// Gossip is what a Feed needs of the pool.
type Gossip interface {
	Receive(kind gossip.Kind, handle func(from string, inc uint32, seq uint64, body []byte))
	Exchange(kind gossip.Kind, local func() []byte, merge func(from string, body []byte))
	Send(kind gossip.Kind, to string, body []byte) error
	Relay(kind gossip.Kind, body []byte) error
	Members() []gossip.Member
}

var _ Gossip = (*gossip.Pool)(nil)

// Feed joins a view with the gossip. Summaries go to the nodes of the region
// each second, and to one node of each other region, which passes them on there;
// cooldowns go to all at once.
type Feed struct {
	view   *View
	gossip Gossip
	log    *slog.Logger
}

// NewFeed registers with the gossip, which must not run yet.
func NewFeed(v *View, g Gossip, log *slog.Logger) *Feed {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{view: v, gossip: g, log: log.With("component", "health")}
	g.Receive(gossip.KindUpstream, f.hear)
	g.Receive(gossip.KindCooldown, func(_ string, _ uint32, _ uint64, body []byte) { f.adopt(body) })
	g.Exchange(gossip.KindCooldown, f.active, func(_ string, body []byte) { f.adopt(body) })
	v.OnNotice(func(n Notice) {
		if err := g.Relay(gossip.KindCooldown, n.append(nil)); err != nil {
			f.log.Debug("cooldown not told to all", "error", err) // the relay reaches the others
		}
	})
	return f
}

// PeersOf are the members that call providers and are alive, as View wants them.
func PeersOf(members []gossip.Member) []Peer {
	var out []Peer
	for _, m := range members {
		if m.State == gossip.Alive && !m.Witness {
			out = append(out, Peer{m.NodeID, m.Region})
		}
	}
	return out
}

const (
	feedEvery = time.Second
	// feedPause is the least time between two reports.
	feedPause = 100 * time.Millisecond
)

// Run ticks the view and reports to the others until the context ends.
func (f *Feed) Run(ctx context.Context) error {
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.view.Tick()
			f.report()
		case <-f.view.Urgent():
			f.report()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(feedPause):
			}
		}
	}
}

func (f *Feed) report() {
	bodies, err := encodeReports(report{summaries: f.view.Summaries(), figures: f.view.Figures()}, gossip.MaxBody)
	if err != nil {
		f.log.Error("report on providers not made", "error", err)
		return
	}
	if len(bodies) == 0 {
		return
	}
	for _, to := range f.receivers() {
		f.send(to, bodies)
	}
}

// receivers are all of the own region and one of each other.
func (f *Feed) receivers() []string {
	var out []string
	type relay struct {
		id    string
		score uint64
	}
	relays := make(map[string]relay)
	for _, p := range PeersOf(f.gossip.Members()) {
		switch {
		case p.ID == f.view.cfg.Node:
		case p.Region == f.view.cfg.Region:
			out = append(out, p.ID)
		default:
			// Each node has a relay of its own, so that none has all the work.
			score := mix(xxhash.Sum64String(p.ID) ^ f.view.self)
			if best, known := relays[p.Region]; !known || score > best.score {
				relays[p.Region] = relay{p.ID, score}
			}
		}
	}
	for _, r := range relays {
		out = append(out, r.id)
	}
	return out
}

func (f *Feed) send(to string, bodies [][]byte) {
	for _, b := range bodies {
		if err := f.gossip.Send(gossip.KindUpstream, to, b); err != nil {
			f.log.Debug("report on providers not sent", "to", to, "error", err)
			return
		}
	}
}

// hear takes another node's report, and passes it on when it came from another
// region for all of this one.
func (f *Feed) hear(from string, inc uint32, seq uint64, body []byte) {
	r, err := decodeReport(body)
	if err != nil {
		f.log.Debug("report on providers refused", "from", from, "error", err)
		return
	}
	forwarded := r.node != ""
	if !forwarded {
		r.node, r.inc, r.seq = from, inc, seq
	}
	region, known := "", false
	members := f.gossip.Members()
	for _, m := range members {
		if m.NodeID == r.node {
			region, known = m.Region, true
		}
	}
	if !known {
		return
	}
	f.view.Merge(r.node, region, r.inc, r.seq, r.summaries)
	f.view.MergeFigures(r.node, region, r.inc, r.seq, r.figures)
	if forwarded || region == f.view.cfg.Region {
		return
	}
	bodies, err := encodeReports(r, gossip.MaxBody)
	if err != nil {
		return
	}
	for _, p := range PeersOf(members) {
		if p.Region == f.view.cfg.Region && p.ID != f.view.cfg.Node {
			f.send(p.ID, bodies)
		}
	}
}

func (f *Feed) adopt(body []byte) {
	notices, err := decodeNotices(body)
	if err != nil {
		f.log.Debug("cooldown refused", "error", err)
		return
	}
	f.view.Adopt(notices...)
}

func (f *Feed) active() []byte {
	var b []byte
	for _, n := range f.view.Active() {
		b = n.append(b)
	}
	return b
}
