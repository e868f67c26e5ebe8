package route

import (
	"sync/atomic"
	"time"
)

// Another region is preferred once it has been this much faster for so long.
const (
	fasterBy  = 0.7
	fasterFor = time.Minute
)

// preferRegion leaves other regions out as long as something in this node's own
// is left; what states no region counts as here. It matters only where some
// deployment of the group is said to be in the node's region.
func (w *Walk) preferRegion(l *level) {
	here := w.r.cfg.Region
	if here == "" || len(w.pool) < 2 {
		return
	}
	home, left, away := false, false, false
	why := outOrder
	for i := range w.pool {
		o := &w.pool[i]
		stated := o.Deployment.Region
		home = home || stated == here
		switch {
		case stated != "" && stated != here:
			away = away || o.out == in
		case o.out == in:
			left = true
		default:
			why = o.out
		}
	}
	switch {
	case !home || !away:
		return
	case !left:
		w.spill = spills[why]
		return
	case w.awayIsFaster(l):
		w.spill = ReasonSpill + "latency"
		w.drop(outSpill, func(o *option) bool { return w.isHome(o) })
		return
	}
	w.drop(outSpill, func(o *option) bool { return !w.isHome(o) })
}

func (w *Walk) isHome(o *option) bool {
	return o.Deployment.Region == "" || o.Deployment.Region == w.r.cfg.Region
}

// spills are the reasons of attempts outside the node's region, by what became of
// those inside.
var spills = [...]string{
	outRegion: ReasonSpill + "region_not_allowed", outCooling: ReasonSpill + "cooling", outContext: ReasonSpill + "context_window",
	outSchema: ReasonSpill + "response_format", outOrder: ReasonSpill + "order", outTags: ReasonSpill + "tags",
	outFailed: ReasonSpill + "failed", outFull: ReasonSpill + "full",
}

// awayIsFaster reports whether what is known of latencies has spoken for another
// region long enough. A single slow answer must not send traffic across an ocean.
func (w *Walk) awayIsFaster(l *level) bool {
	told, ok := w.r.cfg.Health.(Latencies)
	if !ok {
		return false
	}
	var home, away float64
	for i := range w.pool {
		o := &w.pool[i]
		if o.out != in {
			continue
		}
		each, first, ok := told.Latency(o.Deployment.ID)
		if w.q.Stream {
			each = first
		}
		best := &away
		if w.isHome(o) {
			best = &home
		}
		if ok && each > 0 && (*best == 0 || each < *best) {
			*best = each
		}
	}
	v, known := w.r.faster.Load(l.name)
	if home == 0 || away == 0 || away >= fasterBy*home {
		if known {
			v.(*atomic.Int64).Store(0)
		}
		return false
	}
	if !known {
		v, _ = w.r.faster.LoadOrStore(l.name, new(atomic.Int64))
	}
	since := v.(*atomic.Int64)
	now := w.r.cfg.Clock.Now().UnixNano()
	if !since.CompareAndSwap(0, now) {
		return now-since.Load() >= int64(fasterFor)
	}
	return false
}
