package planner_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/cluster/planner"
)

// world is a cluster as the planner's changes and everything else make it.
type world struct {
	t            *rapid.T
	in           planner.Input
	up           map[string]bool
	made         int
	changes      []string
	lastTransfer map[string]time.Time // each leader knows its own
}

// healthy counts voters and those of them that are up, apart from the planner's
// own reckoning.
func (w *world) healthy() (up, voters int) {
	for _, n := range w.in.Nodes {
		if n.Voter {
			voters++
			if w.up[n.ID] {
				up++
			}
		}
	}
	return up, voters
}

func (w *world) node(id string) *planner.Node {
	i := slices.IndexFunc(w.in.Nodes, func(n planner.Node) bool { return n.ID == id })
	return &w.in.Nodes[i]
}

func (w *world) join() {
	w.made++
	w.in.Nodes = append(w.in.Nodes, planner.Node{
		ID: fmt.Sprintf("n%02d", w.made), Member: true, Alive: true, Since: w.in.Now,
		Region:  rapid.SampledFrom([]string{"eu", "us", "ap"}).Draw(w.t, "region"),
		Zone:    rapid.SampledFrom([]string{"1", "2"}).Draw(w.t, "zone"),
		Witness: rapid.IntRange(0, 5).Draw(w.t, "witness") == 0,
	})
	w.up[w.in.Nodes[len(w.in.Nodes)-1].ID] = true
}

// pass lets time go by: those that are up are heard of, and a majority without
// a leader elects one.
func (w *world) pass(d time.Duration) {
	w.in.Now = w.in.Now.Add(d)
	for i := range w.in.Nodes {
		n := &w.in.Nodes[i]
		if up := w.up[n.ID]; up != n.Alive {
			n.Alive = up
			if up {
				n.Since = w.in.Now
			}
		}
		if n.Alive && n.Known {
			n.Contact = w.in.Now
		}
		if !n.Alive && n.Leader {
			n.Leader = false
		}
	}
	up, voters := w.healthy()
	if slices.ContainsFunc(w.in.Nodes, func(n planner.Node) bool { return n.Leader }) || up <= voters/2 {
		return
	}
	for i := range w.in.Nodes {
		if n := &w.in.Nodes[i]; n.Voter && n.Alive {
			w.lead(n)
			return
		}
	}
}

func (w *world) lead(n *planner.Node) {
	for i := range w.in.Nodes {
		w.in.Nodes[i].Leader = false
	}
	n.Leader = true
	w.in.LeaderSince, w.in.LastTransfer = w.in.Now, w.lastTransfer[n.ID]
}

// plan asks once and does what it says.
func (w *world) plan() bool {
	before, votersBefore := w.healthy()
	c, ok := planner.Plan(w.in)
	if !ok {
		return false
	}
	w.changes = append(w.changes, fmt.Sprintf("%s %s", c.Kind, c.ID))
	if before <= votersBefore/2 {
		w.t.Fatalf("%v without a majority", c)
	}
	n := w.node(c.ID)
	switch c.Kind {
	case planner.AddNonvoter:
		n.Known, n.Contact = true, w.in.Now
	case planner.Promote:
		if !n.Known || n.Voter || !n.Member || n.Draining || !w.up[n.ID] {
			w.t.Fatalf("%v of %+v", c, *n)
		}
		n.Voter = true
	case planner.Demote:
		if !n.Voter || n.Leader {
			w.t.Fatalf("%v of %+v", c, *n)
		}
		n.Voter = false
	case planner.Remove:
		if n.Voter || n.Member {
			w.t.Fatalf("%v of %+v", c, *n)
		}
		delete(w.up, n.ID)
		w.in.Nodes = slices.DeleteFunc(w.in.Nodes, func(o planner.Node) bool { return o.ID == c.ID })
	case planner.Transfer:
		if !n.Voter || !n.Member || n.Draining || !w.up[n.ID] {
			w.t.Fatalf("%v of %+v", c, *n)
		}
		for _, o := range w.in.Nodes {
			if o.Leader {
				w.lastTransfer[o.ID] = w.in.Now
			}
		}
		w.lead(n)
	}
	if after, voters := w.healthy(); after <= voters/2 {
		w.t.Fatalf("%v leaves %d healthy of %d voters, there were %d of %d", c, after, voters, before, votersBefore)
	}
	return true
}

// TestPlansConvergeAndNeverCostTheMajority drives the planner through joins,
// deaths, returns, departures and drains, then holds the world still: the plan
// comes to rest, stays at rest, and leaves as many voters as it should.
func TestPlansConvergeAndNeverCostTheMajority(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, up: map[string]bool{}, lastTransfer: map[string]time.Time{}}
		w.in = planner.Input{
			Now: now, Stable: 15 * time.Second, LeaderSince: now,
			Voters:       rapid.SampledFrom([]int{0, 0, 1, 3, 5}).Draw(rt, "voters"),
			PreferRegion: rapid.SampledFrom([]string{"", "eu", "us"}).Draw(rt, "prefer"),
		}
		w.join()
		first := &w.in.Nodes[0]
		first.Known, first.Voter, first.Witness = true, true, false
		w.lead(first)
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			n := &w.in.Nodes[rapid.IntRange(0, len(w.in.Nodes)-1).Draw(rt, "node")]
			switch rapid.SampledFrom([]string{"join", "join", "die", "rise", "rise", "leave", "drain", "wait", "wait"}).Draw(rt, "event") {
			case "join":
				if len(w.in.Nodes) < 10 {
					w.join()
				}
			case "die":
				w.up[n.ID] = false
			case "rise":
				w.up[n.ID] = true
				n.Draining = false
			case "leave":
				if !n.Voter || w.up[n.ID] {
					n.Member = false
					w.in.Nodes = slices.DeleteFunc(w.in.Nodes, func(n planner.Node) bool { return !n.Member && !n.Known })
				}
			case "drain":
				n.Draining = true
			case "wait":
				w.pass(time.Minute)
			}
			for range rapid.IntRange(0, 4).Draw(rt, "rounds") {
				w.pass(5 * time.Second)
				w.plan()
				members := 0
				for _, n := range w.in.Nodes {
					if n.Voter {
						members++
					}
				}
				w.in.Reached = w.in.Reached || members == planner.Desired(w.in.Nodes, w.in.Voters)
			}
		}

		w.changes = nil
		still := 0
		for range 1000 {
			w.pass(5 * time.Second)
			if w.plan() {
				still = 0
			} else {
				still++
			}
		}
		if still < 500 || len(w.changes) > 60 {
			rt.Fatalf("does not come to rest: %v", w.changes)
		}
		checkRest(rt, w)
	})
}

// checkRest holds the world at rest against what it should be.
func checkRest(rt *rapid.T, w *world) {
	up, voters := w.healthy()
	if up <= voters/2 {
		return
	}
	able := 0
	draining := false
	for _, n := range w.in.Nodes {
		if !n.Member && !n.Leader {
			rt.Errorf("%s is no member and still in raft; changes %v, nodes %+v", n.ID, w.changes, w.in.Nodes)
		}
		if w.up[n.ID] && n.Member && (n.Voter || !n.Draining) {
			able++
		}
		draining = draining || n.Draining
	}
	want := planner.Desired(w.in.Nodes, w.in.Voters)
	if voters > want {
		rt.Errorf("%d voters, %d are desired", voters, want)
	}
	if voters%2 == 0 {
		rt.Errorf("an even number of voters: %d", voters)
	}
	if able >= want && (voters != want || up != want) {
		rt.Errorf("%d of %d voters are well, %d could be", up, voters, want)
	}
	if able >= want && !draining {
		checkSpread(rt, w, want)
	}
}

// checkSpread demands as many regions with votes as there can be.
func checkSpread(rt *rapid.T, w *world, want int) {
	possible, have := map[string]bool{}, map[string]bool{}
	for _, n := range w.in.Nodes {
		if w.up[n.ID] {
			possible[n.Region] = true
		}
		if n.Voter {
			have[n.Region] = true
		}
	}
	if len(have) < min(want, len(possible)) {
		rt.Errorf("votes in %d regions of %d: %+v", len(have), len(possible), w.in.Nodes)
	}
}
