package rate

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// node is a member in an outlook.
type node struct {
	at     uint16 // its number on this node, for good
	id     string
	hash   uint64
	inc    uint32 // low bits of the incarnation
	first  bool   // in the first start of its life
	region string
	zone   string
	alive  bool
	fit    bool // to own limits: alive and not about to go
	seen   bool // alive, and it answers this node
}

// area is the members of one region, or all of them.
type area struct {
	name       string
	hash       uint64
	fit        []int32 // in nodes
	registered int
	visible    int
}

// outlook is what follows from a view: who owns what, and how much of a limit
// this side of a partition may use. It is never changed.
type outlook struct {
	src     *View
	version uint64 // of what this node itself has found out about the others
	epoch   uint32 // grows when the ownership of limits may have changed
	digest  uint64 // of what decides ownership, alike on all nodes that agree
	self    int    // in nodes; -1: not a member
	me      uint16 // this node's number
	nodes   []node
	areas   []area // regions with members, by name
	whole   area
	shares  shares
	until   time.Duration // when the shares change by themselves
	strict  bool
	earlier []headcount
	past    []pastOutlook
	// doubt is when this node has last been away for so long that another may
	// have stood in for it, -1: never; doubtful is the first epoch after it.
	doubt    time.Duration
	doubtful uint32
}

// pastOutlook is one that held until lately.
type pastOutlook struct {
	*outlook
	until time.Duration
}

func mix(a, b uint64) uint64 {
	x := a ^ b
	x ^= x >> 32
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// home is the area whose members own a limit.
func (o *outlook) home(id uint64, region string) *area {
	if region != "" {
		for i := range o.areas {
			if a := &o.areas[i]; a.name == region && len(a.fit) > 0 {
				return a
			}
		}
		return &o.whole
	}
	best, score := &o.whole, uint64(0)
	for i := range o.areas {
		a := &o.areas[i]
		if len(a.fit) == 0 {
			continue
		}
		if s := mix(id, a.hash); best == &o.whole || s > score {
			best, score = a, s
		}
	}
	return best
}

// owner is the position of the node that grants of a limit and of the one that
// stands in for it, -1 if there is none. The stand-in is where no one cut of the
// network is likely to take both: in another zone, or for a limit that is at
// home nowhere in another region.
func (o *outlook) owner(id uint64, region string) (owner, backup int) {
	in := o.home(id, region)
	owner = o.first(id, in.fit, -1, func(*node) bool { return true })
	if owner < 0 {
		return -1, -1
	}
	own := &o.nodes[owner]
	elsewhere := func(n *node) bool { return n.zone != own.zone || n.region != own.region }
	if region == "" {
		if backup = o.first(id, o.whole.fit, owner, func(n *node) bool { return n.region != own.region }); backup >= 0 {
			return owner, backup
		}
	}
	if backup = o.first(id, in.fit, owner, elsewhere); backup >= 0 {
		return owner, backup
	}
	if backup = o.first(id, in.fit, owner, func(*node) bool { return true }); backup >= 0 {
		return owner, backup
	}
	return owner, o.first(id, o.whole.fit, owner, func(*node) bool { return true })
}

func (o *outlook) first(id uint64, of []int32, but int, ok func(*node) bool) int {
	best, score := -1, uint64(0)
	for _, i := range of {
		n := &o.nodes[i]
		if int(i) == but || !ok(n) {
			continue
		}
		if s := mix(id, n.hash); best < 0 || s > score {
			best, score = int(i), s
		}
	}
	return best
}

// electorate is the area whose members a limit's side of a partition is
// measured by.
func (o *outlook) electorate(region string) *area {
	if region != "" {
		for i := range o.areas {
			if a := &o.areas[i]; a.name == region && a.registered > 0 {
				return a
			}
		}
	}
	return &o.whole
}

// scaled is how much of a limit this side may use: all of it where it is the
// majority.
func (o *outlook) scaled(limit int64, region string) int64 {
	e := o.electorate(region)
	if 2*e.visible > e.registered {
		return limit
	}
	if limit < 1<<40 {
		return limit * int64(e.visible) / int64(e.registered)
	}
	return limit / int64(e.registered) * int64(e.visible)
}

// degraded is what a node may admit of a limit that nobody grants of.
func (o *outlook) degraded(id uint64, limit int64, region string) int64 {
	if o.strict {
		return 0
	}
	m := int64(max(1, o.electorate(region).registered))
	if limit >= m {
		return limit / m
	}
	if owner, _ := o.owner(id, region); owner == o.self {
		return limit
	}
	return 0
}

// doubts tells whether another node may have granted of a limit that this one
// granted of up to an epoch.
func (o *outlook) doubts(epoch uint32, now time.Duration) bool {
	return o.doubt >= 0 && epoch < o.doubtful && now < o.doubt+memory
}

// find is the position of a node by its number.
func (o *outlook) find(at uint16) int {
	return slices.IndexFunc(o.nodes, func(n node) bool { return n.at == at })
}

// byID is the position of a node by its id.
func (o *outlook) byID(id string) int {
	return slices.IndexFunc(o.nodes, func(n node) bool { return n.id == id })
}

// outlook is what holds now.
func (l *Limiter) outlook(now time.Duration) *outlook {
	o := l.seen.Load()
	v := l.peers.View()
	late := false
	if last := l.ticked.Load(); last > 0 && now-time.Duration(last) > pause {
		late = true
	}
	if o != nil && o.src == v && now < o.until && o.version == l.found.Load() && !late {
		return o
	}
	return l.look(v, now, late)
}

// look makes a new outlook of a view.
func (l *Limiter) look(v *View, now time.Duration, late bool) *outlook {
	l.viewing.Lock()
	defer l.viewing.Unlock()
	old := l.seen.Load()
	found := l.found.Load()
	if late {
		late = now-time.Duration(l.ticked.Swap(int64(now))) > pause
	}
	late = l.doubted.Swap(false) || late
	if old != nil && old.src == v && now < old.until && old.version == found && !late {
		return old
	}
	o := &outlook{src: v, version: found, self: -1, strict: l.strict != nil && l.strict(), doubt: -1}
	o.me = l.number(v.Self)
	o.whole.name = ""
	for i := range v.Members {
		m := &v.Members[i]
		at := l.number(m.ID)
		n := node{at: at, id: m.ID, hash: l.hash(m.ID), inc: uint32(m.Incarnation), first: m.Incarnation <= 1,
			region: m.Region, zone: m.Zone, alive: m.Alive || m.ID == v.Self}
		n.fit = n.alive && !m.Draining
		n.seen = n.alive && (m.ID == v.Self || !l.line(at).lost.Load())
		o.nodes = append(o.nodes, n)
	}
	slices.SortFunc(o.nodes, func(a, b node) int { return cmp.Compare(a.id, b.id) })
	o.survey(l)
	o.remember(old, now, l.ownFrom(o, v), l.joins(v, now), late)
	l.seen.Store(o)
	if old == nil || old.epoch != o.epoch {
		l.signal()
	}
	return o
}

// survey counts the members by region.
func (o *outlook) survey(l *Limiter) {
	sum := fnv.New64a()
	for i := range o.nodes {
		n := &o.nodes[i]
		at := slices.IndexFunc(o.areas, func(a area) bool { return a.name == n.region })
		if at < 0 {
			at = len(o.areas)
			o.areas = append(o.areas, area{name: n.region, hash: l.hash("region\x1f" + n.region)})
		}
		for _, a := range []*area{&o.areas[at], &o.whole} {
			a.registered++
			if n.seen {
				a.visible++
			}
			if n.fit {
				a.fit = append(a.fit, int32(i))
			}
		}
		if n.id == o.src.Self {
			o.self = i
		}
		if n.fit {
			b := append([]byte(n.id), 0)
			b = append(append(b, n.region...), 0)
			b = append(append(b, n.zone...), 0)
			sum.Write(binary.LittleEndian.AppendUint32(b, n.inc))
		}
	}
	if len(o.whole.fit) == 0 { // all are about to go: somebody must own what is left
		for i := range o.nodes {
			if o.nodes[i].alive {
				o.whole.fit = append(o.whole.fit, int32(i))
			}
		}
	}
	o.digest = sum.Sum64()
}

// remember takes over from the outlook before what still matters of the past.
func (o *outlook) remember(old *outlook, now, ownFrom time.Duration, joins []headcount, late bool) {
	if old != nil {
		o.epoch, o.doubt, o.doubtful = old.epoch, old.doubt, old.doubtful
		for _, e := range old.earlier {
			if now < e.until+settle {
				o.earlier = append(o.earlier, e)
			}
		}
		if len(old.nodes) != len(o.nodes) {
			o.earlier = append(o.earlier, headcount{len(old.nodes), now})
		}
		for _, p := range old.past {
			if now < p.until+memory {
				o.past = append(o.past, p)
			}
		}
		if old.digest != o.digest || late {
			o.epoch++
			before := *old
			before.past = nil
			o.past = append(o.past, pastOutlook{&before, now})
		}
	}
	if late {
		o.doubt, o.doubtful = now, o.epoch
	}
	// A node that came later than others must count with what they held before.
	o.shares, o.until = sharesAt(now, len(o.nodes), append(joins, o.earlier...), ownFrom)
}

// ownFrom is when this node may use its standing parts: what an earlier start
// of it, or nobody, has used of them is unknown before.
func (l *Limiter) ownFrom(o *outlook, v *View) time.Duration {
	if o.self < 0 {
		return math.MaxInt64
	}
	from := time.Duration(0)
	for i := range v.Members {
		if m := &v.Members[i]; m.ID == v.Self && !m.Since.IsZero() {
			from = max(from, m.Since.Sub(l.start))
		}
	}
	return from + settle
}

// joins is how many members there were before each that came lately.
func (l *Limiter) joins(v *View, now time.Duration) []headcount {
	var list []headcount
	for i := range v.Members {
		at := v.Members[i].Since.Sub(l.start)
		if v.Members[i].Since.IsZero() || now >= at+settle {
			continue
		}
		n := 0
		for j := range v.Members {
			if s := v.Members[j].Since; s.IsZero() || s.Before(v.Members[i].Since) {
				n++
			}
		}
		if n > 0 {
			list = append(list, headcount{n, at})
		}
	}
	return list
}

// number is a node's short name on this node.
func (l *Limiter) number(id string) uint16 {
	l.numbering.Lock()
	defer l.numbering.Unlock()
	if n, ok := l.numbers[id]; ok {
		return n
	}
	n := uint16(len(l.numbers))
	l.numbers[id] = n
	old := l.lines.Load()
	lines := append(slices.Clone(*old), &line{node: id, at: n})
	l.lines.Store(&lines)
	return n
}

func (l *Limiter) line(at uint16) *line { return (*l.lines.Load())[at] }

func (l *Limiter) hash(s string) uint64 { return sip13(l.k0, l.k1, 0xff, 0xff, s) }
