// Package route chooses the deployment that is asked next: it turns the name a
// client asks for into what may answer, picks among that by the operator's
// strategy, and decides after a failure whether to try again, elsewhere or not
// at all. It calls nobody, reserves nothing and knows no HTTP.
package route

import (
	"slices"

	"tollgate/config/price"
	"tollgate/config/residency"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// Candidate is one deployment that may be called, with the model name to send.
type Candidate struct {
	Deployment *state.Deployment
	Model      string
	Group      string // the group it was found under: a fallback's differs from the one asked for
	Fallback   bool
}

// Plan is everything that one call may come to: the bounds of what it may cost
// hold whichever of it answers. It is kept and built anew, for its memory.
type Plan struct {
	Name string // as it was asked for
	// Candidates are the group's own deployments, then those of every fallback
	// that the caller may reach.
	Candidates []Candidate
	// Outside counts the deployments that stand in regions where the caller's data
	// may not be, or in none that is known.
	Outside int

	own   state.Target
	known bool // the name stands for something
	names []string
}

// Reset forgets the plan but for its memory.
func (p *Plan) Reset() {
	clear(p.Candidates)
	clear(p.names)
	*p = Plan{Candidates: p.Candidates[:0], names: p.names[:0]}
}

// Plan finds what a request may come to. It is false when nothing may answer it.
func (r *Router) Plan(p *Plan, s *state.Routing, q *Request) bool {
	p.Reset()
	p.Name = q.Name
	set := r.settingsOf(s)
	p.own, p.known = s.Resolve(q.Name)
	if p.known {
		p.add(p.own, q.Name, q.Regions, false)
	}
	if !q.NoFallbacks && (set.fallbacks || q.Fallbacks != nil || q.ContextFallbacks != nil || q.ContentFallbacks != nil) {
		p.reach(s, set, q)
	}
	return len(p.Candidates) > 0
}

// reach adds the fallbacks, theirs, and so on, as deep as they may lead.
func (p *Plan) reach(s *state.Routing, set *settings, q *Request) {
	p.names = append(p.names, q.Name)
	from, depth := 0, 0
	for end := len(p.names); from < end && depth < set.maxFallbacks; end = len(p.names) {
		for ; from < end; from++ {
			p.reachFrom(s, q, p.names[from])
		}
		depth++
	}
}

func (p *Plan) reachFrom(s *state.Routing, q *Request, name string) {
	t, _ := s.Resolve(name)
	for k := general; k <= content; k++ {
		list, _ := listOf(s, q, k, name, "")
		p.reachAll(s, q, list)
		// What a list of names stands for may lead on by the picked name's own entry.
		for _, c := range t.Deployments() {
			if c.Group != name {
				list, _ := listOf(s, q, k, name, c.Group)
				p.reachAll(s, q, list)
			}
		}
	}
}

func (p *Plan) reachAll(s *state.Routing, q *Request, list targets) {
	for i := range list.len() {
		name := list.at(i).Name
		if name == "" || slices.Contains(p.names, name) || !mayReach(s, q, name) {
			continue
		}
		p.names = append(p.names, name)
		if t, found := s.Resolve(name); found {
			p.add(t, name, q.Regions, true)
		}
	}
}

// mayReach reports whether a fallback may serve the caller. A deployment named
// by its id is open to whom its group is.
func mayReach(s *state.Routing, q *Request, name string) bool {
	if q.Caller == nil || q.Caller.MayReach(name) {
		return true
	}
	d := s.ByID[name]
	return d != nil && q.Caller.MayReach(d.Group)
}

func (p *Plan) add(t state.Target, group string, regions []string, fallback bool) {
	for _, d := range t.Deployments() {
		if !residency.Allows(regions, d.Deployment.Region) {
			p.Outside++
			continue
		}
		p.Candidates = append(p.Candidates, Candidate{Deployment: d.Deployment, Model: d.Model, Group: group, Fallback: fallback})
	}
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
