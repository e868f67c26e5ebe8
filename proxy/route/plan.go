// Package route turns the name a client asks for into the deployments that may
// answer it, in the order in which they are tried.
package route

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// Candidate is one deployment of a plan, with the model name to send.
type Candidate struct {
	Deployment *state.Deployment
	Model      string
	Group      string // the group it was found under: a fallback's differs from the one asked for
	Fallback   bool
	share      float64 // of the load when no weights are given
	key        float64 // of the order it is sorted into: random, then until when it cools
}

// Plan is the ordered list of what may be called.
type Plan struct {
	Name       string // as the client asked
	Candidates []Candidate
}

// Worst is the most the call can cost on any candidate; ok is false when some
// candidate has no price.
func (p *Plan) Worst(inTokens, outTokens int64) (worst unit.Money, ok bool) {
	ok = true
	for i := range p.Candidates {
		row := p.Candidates[i].Deployment.Price
		if row == nil {
			ok = false
			continue
		}
		worst = max(worst, price.Max(row, inTokens, outTokens))
	}
	return worst, ok
}

// MaxOutput is the largest answer that any candidate may give.
func (p *Plan) MaxOutput() int64 {
	var out int64
	for i := range p.Candidates {
		out = max(out, ModelMaxOutput(p.Candidates[i].Deployment))
	}
	return out
}

// defaultMaxOutput stands in for models whose own maximum nobody has told us.
const defaultMaxOutput = 16384

// ModelMaxOutput is the most output tokens of a deployment's model.
func ModelMaxOutput(d *state.Deployment) int64 {
	if d.MaxOutput > 0 {
		return d.MaxOutput
	}
	if d.Price != nil && d.Price.MaxOutput > 0 {
		return d.Price.MaxOutput
	}
	return defaultMaxOutput
}

// Build makes the plan for a name: its own deployments in a weighted random
// order, then those of each fallback that the caller may use; what is cooling
// comes last. health may be nil.
func Build(r *state.Routing, name string, fallbacks []string, allowed func(group string) bool, health Health) (Plan, bool) {
	plan := Plan{Name: name}
	target, ok := r.Resolve(name)
	if ok {
		plan.add(target, name, false)
	}
	if fallbacks == nil {
		fallbacks = fallbacksOf(r, name)
	}
	for _, f := range fallbacks {
		if f == name || !allowed(f) {
			continue
		}
		if t, found := r.Resolve(f); found {
			plan.add(t, f, true)
		}
	}
	if !r.Config.Router.DisableCooldowns {
		plan.coolLast(health)
	}
	return plan, len(plan.Candidates) > 0
}

func fallbacksOf(r *state.Routing, name string) []string {
	for _, m := range []map[string][]string{r.Config.Router.Fallbacks, r.Config.LiteLLM.Fallbacks} {
		if list, ok := m[name]; ok {
			return list
		}
	}
	for _, m := range []map[string][]string{r.Config.Router.Fallbacks, r.Config.LiteLLM.Fallbacks} {
		if list, ok := m["*"]; ok {
			return list
		}
	}
	return nil
}

func (p *Plan) add(t state.Target, group string, fallback bool) {
	start := len(p.Candidates)
	for _, d := range t.Deployments() {
		p.Candidates = append(p.Candidates, Candidate{Deployment: d.Deployment, Model: d.Model, Group: group, Fallback: fallback, share: d.Share})
	}
	shuffle(p.Candidates[start:])
}

// shuffle orders candidates at random by LiteLLM's simple-shuffle: by weight if
// any has one, else by rpm, else by tpm, else alike; lower order values first.
func shuffle(c []Candidate) {
	if len(c) < 2 {
		return
	}
	weight := weigher(c)
	for i := range c {
		// Efraimidis and Spirakis: a random order in which each position is a
		// weighted choice among what is left.
		c[i].key = rand.ExpFloat64() / weight(&c[i])
	}
	slices.SortStableFunc(c, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(order(a.Deployment), order(b.Deployment)), cmp.Compare(a.key, b.key))
	})
}

func order(d *state.Deployment) int {
	if d.Order == nil {
		return 1 << 30
	}
	return *d.Order
}

// tiny stands for "no weight beside siblings that have one": tried last.
const tiny = 1e-9

func weigher(c []Candidate) func(*Candidate) float64 {
	has := func(f func(*state.Deployment) bool) bool {
		return slices.ContainsFunc(c, func(x Candidate) bool { return f(x.Deployment) })
	}
	switch {
	case has(func(d *state.Deployment) bool { return d.Weight != nil }):
		return func(x *Candidate) float64 {
			if x.Deployment.Weight == nil {
				return tiny
			}
			return max(*x.Deployment.Weight, tiny)
		}
	case has(func(d *state.Deployment) bool { return d.RPM != nil }):
		return func(x *Candidate) float64 { return limitWeight(x.Deployment.RPM) }
	case has(func(d *state.Deployment) bool { return d.TPM != nil }):
		return func(x *Candidate) float64 { return limitWeight(x.Deployment.TPM) }
	}
	return func(x *Candidate) float64 { return max(x.share, tiny) }
}

func limitWeight(v *int64) float64 {
	if v == nil {
		return tiny
	}
	return max(float64(*v), tiny)
}

// Affordable is the most output tokens that an amount pays for on every
// candidate, at least one: a call that was admitted may say something.
func Affordable(p *Plan, inTokens int64, amount unit.Money) int64 {
	out := int64(0)
	for i := range p.Candidates {
		row := p.Candidates[i].Deployment.Price
		if row == nil {
			continue
		}
		if n := price.AffordableOutput(row, inTokens, amount); out == 0 || n < out {
			out = n
		}
	}
	return max(out, 1)
}
