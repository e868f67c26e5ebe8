package planner

// best is the node whose vote spreads the votes most: a region without one, the
// preferred region among those, a witness that stands alone in its region (it is
// there to vote), then a zone without a vote, then the longest alive. A witness
// among other nodes comes last.
func (v *view) best(spares []*Node) *Node {
	var best *Node
	for _, n := range spares {
		if best == nil {
			best = n
			continue
		}
		if c := compare(v.gain(n), v.gain(best)); c > 0 || c == 0 && older(n, best) {
			best = n
		}
	}
	return best
}

// gain ranks a node as a voter beside the present ones; more is better, the
// first difference counts.
func (v *view) gain(n *Node) [5]int {
	newRegion, newZone := 1, 1
	for _, o := range v.voters {
		if o == n || o.Region != n.Region {
			continue
		}
		newRegion = 0
		if o.Zone == n.Zone {
			newZone = 0
		}
	}
	preferred := 0
	if v.in.PreferRegion != "" && n.Region == v.in.PreferRegion {
		preferred = 1
	}
	witness := 0
	if n.Witness {
		witness = -1
		if v.alone(n) {
			witness = 1
		}
	}
	drains := 0
	if n.Draining {
		drains = -1
	}
	return [5]int{newRegion, preferred * newRegion, witness, newZone, drains}
}

// alone reports whether a node is the only member of its region.
func (v *view) alone(n *Node) bool {
	for i := range v.in.Nodes {
		o := &v.in.Nodes[i]
		if o.ID != n.ID && o.Member && o.Region == n.Region {
			return false
		}
	}
	return true
}

// dispensable is the voter whose vote adds least, nil when only the leader
// votes: raft's leader cannot take its own vote without losing office.
func (v *view) dispensable() *Node {
	var out *Node
	for _, n := range v.voters {
		if n.Leader {
			continue
		}
		if out == nil {
			out = n
			continue
		}
		if c := compare(v.gain(n), v.gain(out)); c < 0 || c == 0 && older(out, n) {
			out = n
		}
	}
	return out
}

// regionsWithout counts the regions with a vote when out has none.
func (v *view) regionsWithout(out *Node) int {
	seen := map[string]bool{}
	for _, n := range v.voters {
		if n != out {
			seen[n.Region] = true
		}
	}
	return len(seen)
}

// compare says which of two ranks is the better one.
func compare(a, b [5]int) int {
	for i := range a {
		if a[i] != b[i] {
			return a[i] - b[i]
		}
	}
	return 0
}
