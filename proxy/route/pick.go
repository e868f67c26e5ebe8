package route

import (
	"math"
	"slices"
	"time"

	"tollgate/config/price"
	"tollgate/config/residency"
	"tollgate/config/state"
)

// out is why a deployment is not asked; in is none.
type out uint8

const (
	in out = iota
	outRegion
	outCooling
	outContext
	outSchema
	outOrder
	outTags
	outFailed
	outFull
	outLimit
	outSpill
)

var outNames = [...]string{
	in: "", outRegion: "region_not_allowed", outCooling: "cooling", outContext: "context_window", outSchema: "response_format",
	outOrder: "order", outTags: "tags", outFailed: "failed", outFull: "full", outLimit: "limit", outSpill: "other_region",
}

// option is one deployment of a group while one of them is chosen.
type option struct {
	state.Choice
	out    out
	until  time.Time // of what cools
	weight float64   // its chance is this part of all weights
	key    float64   // what the strategy compares
}

// pick draws one of the level's deployments; nil: none is left.
func (w *Walk) pick(l *level) *option {
	if !w.judge(l) {
		return nil
	}
	if len(w.pool) == 1 {
		return &w.pool[0]
	}
	return w.draw()
}

// judge fills w.pool with the level's deployments, each with why it is not asked
// or with its weight. The filters follow LiteLLM's order; each can only remove.
func (w *Walk) judge(l *level) bool {
	w.pool, w.spill = w.pool[:0], ""
	for _, c := range l.target.Deployments() {
		w.pool = append(w.pool, option{Choice: c, weight: 1})
	}
	if !w.filterRegions() || !w.filterCooling(l) || !w.filterChecks() || !w.filterFull() || !w.filterFailed(l) || !w.filterOrder(l) {
		return false
	}
	w.preferRegion(l)
	return w.weigh()
}

// draw picks by weight.
func (w *Walk) draw() *option {
	total := 0.0
	var one *option
	for i := range w.pool {
		if o := &w.pool[i]; o.out == in {
			total += o.weight
			one = o
		}
	}
	x := w.r.chance() * total
	for i := range w.pool {
		o := &w.pool[i]
		if o.out != in {
			continue
		}
		if x < o.weight {
			return o
		}
		x -= o.weight
	}
	return one // the sums were rounded
}

// drop marks those of which gone is true and reports whether any is left.
func (w *Walk) drop(why out, gone func(o *option) bool) bool {
	left := false
	for i := range w.pool {
		o := &w.pool[i]
		if o.out != in {
			continue
		}
		if gone(o) {
			o.out = why
			continue
		}
		left = true
	}
	return left
}

func (w *Walk) filterRegions() bool {
	if len(w.q.Regions) == 0 {
		return len(w.pool) > 0
	}
	return w.drop(outRegion, func(o *option) bool { return !residency.Allows(w.q.Regions, o.Deployment.Region) })
}

// filterCooling leaves alone what cools. A deployment that is named by its id is
// meant, cooling or not.
func (w *Walk) filterCooling(l *level) bool {
	h := w.r.cfg.Health
	if h == nil || !w.set.cooldowns || l.id {
		return true
	}
	left := false
	for i := range w.pool {
		o := &w.pool[i]
		if o.out != in {
			continue
		}
		if until, _, cools := h.Cooling(o.Deployment); cools {
			o.out, o.until = outCooling, until
			continue
		}
		left = true
	}
	return left || w.openHearsay()
}

// filterChecks are enable_pre_call_checks: what is known not to fit is not asked.
func (w *Walk) filterChecks() bool {
	if !w.set.checks {
		return true
	}
	left := w.drop(outContext, func(o *option) bool {
		d := o.Deployment
		return d.MaxInput > 0 && d.MaxInput < w.q.Tokens
	})
	if !left || !w.q.Schema || w.q.DropParams {
		return left
	}
	return w.drop(outSchema, func(o *option) bool {
		row := o.Deployment.Price
		return row != nil && row.Source == price.SourceBook && row.Supports&price.ResponseSchema == 0 && !o.Deployment.DropParams
	})
}

// filterFull leaves out what had no room a moment ago.
func (w *Walk) filterFull() bool {
	return len(w.full) == 0 || w.drop(outFull, func(o *option) bool { return slices.Contains(w.full, o.Deployment.ID) })
}

// filterFailed leaves out what has failed this call already, as long as there is
// something else. A fallback that changes the request begins anew.
func (w *Walk) filterFailed(l *level) bool {
	if len(w.failed) == 0 || l.fields != nil && !l.asked {
		return true
	}
	if w.fresh() {
		return w.drop(outFailed, w.hasFailed)
	}
	// All that is left has failed. It is asked once more by its own retries, not as
	// another group's stand-in.
	return l.asked || w.drop(outFailed, w.hasFailed)
}

func (w *Walk) hasFailed(o *option) bool { return slices.Contains(w.failed, o.Deployment.ID) }

// fresh reports whether anything is left that has not failed.
func (w *Walk) fresh() bool {
	return slices.ContainsFunc(w.pool, func(o option) bool { return o.out == in && !w.hasFailed(&o) })
}

// filterOrder keeps the lowest order, and of it what the tags allow; where they
// allow nothing the next order is looked at.
func (w *Walk) filterOrder(l *level) bool {
	tags := w.s.Config.Router.TagFiltering
	if len(w.pool) == 1 && !tags && !l.behind {
		return true
	}
	least := math.MinInt
	if l.behind {
		least = l.least
	}
	for ; ; least++ {
		lowest := math.MaxInt
		for i := range w.pool {
			if o := &w.pool[i]; o.out == in {
				if n := order(o.Deployment); n >= least {
					lowest = min(lowest, n)
				}
			}
		}
		if lowest == math.MaxInt {
			return w.drop(outOrder, func(*option) bool { return true })
		}
		if !tags || w.filterTags(lowest) {
			return w.drop(outOrder, func(o *option) bool { return order(o.Deployment) != lowest })
		}
		least = lowest
	}
}

// filterTags keeps of one order what the request's tags mean: those in common,
// else what is tagged default; for a request without tags the latter, else all.
func (w *Walk) filterTags(level int) bool {
	common := func(d *state.Deployment) bool { return matches(d.Tags, w.q.Tags, w.s.Config.Router.TagMatchAll) }
	standard := func(d *state.Deployment) bool { return slices.Contains(d.Tags, "default") }
	keep := standard
	if len(w.q.Tags) > 0 && w.anyOf(level, common) {
		keep = common
	} else if !w.anyOf(level, standard) {
		if len(w.q.Tags) == 0 {
			return true
		}
		keep = func(*state.Deployment) bool { return false }
	}
	left := false
	for i := range w.pool {
		o := &w.pool[i]
		if o.out != in || order(o.Deployment) != level {
			continue
		}
		if !keep(o.Deployment) {
			o.out = outTags
			continue
		}
		left = true
	}
	return left
}

func (w *Walk) anyOf(level int, f func(*state.Deployment) bool) bool {
	return slices.ContainsFunc(w.pool, func(o option) bool { return o.out == in && order(o.Deployment) == level && f(o.Deployment) })
}

// matches reports a tag in common, or with all that every tag asked for is there.
func matches(has, asked []string, all bool) bool {
	for _, t := range asked {
		if slices.Contains(has, t) != all {
			return !all
		}
	}
	return all
}

// order of those that state none is the last.
func order(d *state.Deployment) int {
	if d.Order == nil {
		return 1 << 30
	}
	return *d.Order
}
