package rate

import "time"

// shareOf is each node's standing part of a limit, which it may use without
// asking: 3 % over all nodes, at least one unit a node where that is not much
// of the limit. It never grows with the number of nodes, but from one to two: a
// node that is alone needs none.
func shareOf(limit int64, nodes int) int64 {
	if nodes <= 1 || limit <= 0 {
		return 0
	}
	n := int64(nodes)
	s := limit / 100 * 3 / n
	if limit < 1<<40 {
		s = limit * 3 / (100 * n)
	}
	if s == 0 && limit >= 20*n {
		s = 1
	}
	return s
}

// shares is what the standing parts come to while the number of nodes changes.
// A part that shrinks does so at once and one that grows waits until all use of
// the old one has left every span, so with any of the counts of the last 64 s
// all parts together stay within what the owner keeps back.
type shares struct {
	counts []int // all numbers of nodes of late
	own    bool  // whether this node has been a member for long enough
}

// settle is how long a change of the member list takes to count: until all that
// was granted before it has left every ring, and the few seconds by which some
// owner may have heard of it later than the node whose part is new.
const settle = slots*slotTime + 4*time.Second

func (s *shares) mine(limit int64) int64 {
	if !s.own {
		return 0
	}
	m := shareOf(limit, s.counts[0])
	for _, n := range s.counts[1:] {
		m = min(m, shareOf(limit, n))
	}
	return m
}

// kept is what the owner must not grant.
func (s *shares) kept(limit int64) int64 {
	k := int64(0)
	for _, n := range s.counts {
		k = max(k, int64(n)*shareOf(limit, n))
	}
	return k
}

// headcount is a number of nodes that held until a time.
type headcount struct {
	nodes int
	until time.Duration
}

// sharesAt is what holds now, and until when it does if nobody comes or goes.
func sharesAt(now time.Duration, nodes int, earlier []headcount, ownFrom time.Duration) (shares, time.Duration) {
	s := shares{counts: []int{nodes}, own: now >= ownFrom}
	until := time.Duration(1<<63 - 1)
	if !s.own {
		until = ownFrom
	}
	for _, e := range earlier {
		if now >= e.until+settle {
			continue
		}
		until = min(until, e.until+settle)
		s.counts = append(s.counts, e.nodes)
	}
	return s, until
}
