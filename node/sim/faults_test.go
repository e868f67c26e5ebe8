package sim_test

import (
	"context"
	"time"

	"tollgate/cluster/sim"
)

// hurt does one random thing to the cluster and undoes it after a while. The
// leader is a favourite.
func (w *world) hurt() {
	pick := func() *host {
		if l := w.leader(); l != nil && w.net.Chance(0.5) {
			return l
		}
		return w.hosts[w.net.IntN(len(w.hosts))]
	}
	kinds := []sim.Kind{sim.Everything, sim.Raft, sim.Calls, sim.Gossip, sim.Raft | sim.Calls}[w.net.IntN(5)]
	h, last := pick(), w.net.Between(500*time.Millisecond, 20*time.Second)
	switch w.net.IntN(8) {
	case 0, 1: // two sides
		side := []*host{h}
		for _, o := range w.except(h) {
			if len(side) < len(w.hosts)/2 && w.net.Chance(0.4) {
				side = append(side, o)
			}
		}
		w.net.Isolate(kinds, ids(side...)...)
	case 2:
		w.net.Mute(kinds, h.id)
	case 3:
		w.net.Deafen(kinds, h.id)
	case 4:
		others := w.except(h)
		o := others[w.net.IntN(len(others))]
		w.net.Cut(h.id, o.id, kinds)
	case 5:
		w.net.SetLoss(0.02 + float64(w.net.IntN(10))/100)
	default:
		if w.aged && w.net.Chance(0.5) { // what a long life leaves: others may then need a snapshot
			_ = h.Snapshot(context.Background())
			h.stop()
			h.trim(64)
		} else {
			h.stop()
		}
		if w.net.Chance(0.3) { // at once, as a supervisor does
			last = 0
		}
	}
	time.Sleep(last)
	w.mend()
}

// age makes the cluster one that has compacted its logs. A young one, where some
// nodes hold the log from its first entry and others only a snapshot, can stay
// stuck in this raft until the former compact theirs: a follower that finds no
// entry before the conflicting one is offered the log from its beginning, and
// cannot take it.
func (w *world) age() {
	for _, h := range w.hosts {
		h.snapshot()
		h.stop()
		h.trim(0)
		h.start()
		w.theLeader()
		time.Sleep(10 * time.Second)
	}
	w.aged = true
}

// mend undoes everything.
func (w *world) mend() {
	w.net.HealAll()
	w.net.SetLoss(w.plan.net.Loss)
	for _, h := range w.hosts {
		if h.run == nil {
			h.start()
		}
	}
}
