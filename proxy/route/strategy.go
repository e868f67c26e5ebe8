package route

import (
	"math"
	"time"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// weigh gives what is left its chances by the strategy. It is false when the
// strategy leaves nothing.
func (w *Walk) weigh() bool {
	if w.set.strategy == SimpleShuffle {
		if len(w.pool) > 1 {
			shuffle(w.pool)
		}
		return true
	}
	now := w.r.cfg.Clock.Now()
	if w.set.strategy != LeastBusy && !w.filterLimits(now) {
		return false
	}
	told := false
	for i := range w.pool {
		if o := &w.pool[i]; o.out == in {
			told = w.measure(o, now) || told
		}
	}
	switch w.set.strategy {
	case LeastBusy:
		if told {
			twoChoices(w.pool)
			return true
		}
		lowest(w.pool, 0)
	case LatencyBased:
		lowest(w.pool, w.set.buffer)
	case CostBased:
		first(w.pool)
	default:
		lowest(w.pool, 0)
	}
	return true
}

// measure sets what the strategy compares: the lower, the better. told reports
// that what other nodes say is in it.
func (w *Walk) measure(o *option, now time.Time) (told bool) {
	id := o.Deployment.ID
	switch w.set.strategy {
	case LeastBusy:
		n, others := w.r.busy(id)
		o.key = float64(n)
		return others
	case LatencyBased:
		o.key = w.r.latency(id, w.q.Stream, now, w.set.ttl)
	case CostBased:
		o.key = cost(o.Deployment.Price)
	default:
		_, tokens := w.r.usage(id, now)
		o.key = float64(tokens)
	}
	return false
}

// filterLimits leaves out what has been sent as much this minute as it may.
func (w *Walk) filterLimits(now time.Time) bool {
	return w.drop(outLimit, func(o *option) bool {
		d := o.Deployment
		if d.RPM == nil && d.TPM == nil {
			return false
		}
		requests, tokens := w.r.usage(d.ID, now)
		return d.RPM != nil && requests+1 > *d.RPM || d.TPM != nil && tokens+w.q.Tokens > *d.TPM
	})
}

// unknownCost is LiteLLM's for a model without a price: dearer than any.
const unknownCost = 10.0

// cost is what one token in and one token out come to, in dollars.
func cost(row *price.Row) float64 {
	if !row.Priced() {
		return unknownCost
	}
	question, _ := row.Price(price.Input)
	answer, _ := row.Price(price.Output)
	return (float64(question) + float64(answer)) / picoDollars
}

const picoDollars = float64(unit.Dollar) * 1000

// lowest keeps what is within a part of the best, all with the same chance.
func lowest(pool []option, buffer float64) {
	best := math.Inf(1)
	for i := range pool {
		if o := &pool[i]; o.out == in {
			best = min(best, o.key)
		}
	}
	for i := range pool {
		pool[i].weight = 0
		if o := &pool[i]; o.out == in && o.key <= best+buffer*best {
			o.weight = 1
		}
	}
}

// first keeps the best, of several the one that stands first.
func first(pool []option) {
	best := -1
	for i := range pool {
		pool[i].weight = 0
		if pool[i].out == in && (best < 0 || pool[i].key < pool[best].key) {
			best = i
		}
	}
	if best >= 0 {
		pool[best].weight = 1
	}
}

// twoChoices is the better of two that are drawn at random, as chances: what
// other nodes tell is a moment old, and if all nodes took the one that was least
// busy then, it would be the busiest now.
func twoChoices(pool []option) {
	n := 0
	for i := range pool {
		if pool[i].out == in {
			n++
		}
	}
	if n < 3 { // two drawn of two are both: the better one is the lowest
		lowest(pool, 0)
		return
	}
	for i := range pool {
		pool[i].weight = 0
		for j := range pool {
			switch {
			case i == j || pool[i].out != in || pool[j].out != in:
			case pool[i].key < pool[j].key:
				pool[i].weight++
			case pool[i].key == pool[j].key:
				pool[i].weight += 0.5
			}
		}
	}
}

// tiny stands for "no weight beside siblings that have one": taken last.
const tiny = 1e-9

// shuffle is LiteLLM's simple-shuffle: by weight if any has one, else by rpm,
// else by tpm, else alike.
func shuffle(pool []option) {
	for _, of := range [...]func(*state.Deployment) (float64, bool){weightOf, rpmOf, tpmOf} {
		if !states(pool, of) {
			continue
		}
		for i := range pool {
			v, _ := of(pool[i].Deployment)
			pool[i].weight = max(v, tiny)
		}
		return
	}
	for i := range pool {
		pool[i].weight = max(pool[i].Share, tiny)
	}
}

func states(pool []option, of func(*state.Deployment) (float64, bool)) bool {
	for i := range pool {
		if pool[i].out == in {
			if _, has := of(pool[i].Deployment); has {
				return true
			}
		}
	}
	return false
}

func weightOf(d *state.Deployment) (float64, bool) {
	if d.Weight == nil {
		return 0, false
	}
	return *d.Weight, true
}

func rpmOf(d *state.Deployment) (float64, bool) { return number(d.RPM) }
func tpmOf(d *state.Deployment) (float64, bool) { return number(d.TPM) }

func number(v *int64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return float64(*v), true
}
