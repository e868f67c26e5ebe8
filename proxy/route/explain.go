package route

import (
	"time"

	"tollgate/config/state"
)

// Verdict is what a call would make of one deployment.
type Verdict struct {
	Candidate
	// Out is why it would not be asked first: region_not_allowed, cooling,
	// context_window, response_format, order, tags, limit or other_region; "" when
	// it might.
	Out string
	// Until is how long it cools; zero when it does not.
	Until time.Time
	// Chance of being asked first, of all in its group: they sum to 1.
	Chance float64
}

// Stage is one group that a call would come to.
type Stage struct {
	Name string
	// Reason is why it would be tried: "" for the group asked for, else one of the
	// fallback reasons.
	Reason   string
	Verdicts []Verdict
	// Refusal is what a call would be told when nothing of the group can be asked;
	// "" when something can.
	Refusal string
	// Spill is why deployments of another region would be asked, "" when those of
	// the node's own would.
	Spill string
	// Barred reports that the caller may not use the group, or that the name stands
	// for nothing: it would be passed over.
	Barred  bool
	Unknown bool
}

// Explanation is how a call would be routed now, with nothing asked or counted.
type Explanation struct {
	Strategy string
	Region   string // of the node that would choose
	Stages   []Stage
	Retries  int // of a failure of which no policy speaks, in the group asked for
}

// Explain goes the way of a call without asking anybody: the group asked for, then
// every fallback to which a failure of its could lead. It is for questions of
// operators, and allocates.
func (r *Router) Explain(s *state.Routing, q *Request) Explanation {
	set := r.settingsOf(s)
	e := Explanation{Strategy: set.strategy.String(), Region: r.cfg.Region}
	var p Plan
	r.Plan(&p, s, q)
	var w Walk
	w.Begin(r, s, &p, q)
	var d *state.Deployment
	if own := p.own.Deployments(); len(own) > 0 {
		d = own[0].Deployment
	}
	e.Retries = Retries(s, d, q.Retries)
	e.Stages = append(e.Stages, w.stage(w.levels[0], !p.known))
	if q.NoFallbacks || set.maxFallbacks < 1 {
		return e
	}
	for k := general; k <= content; k++ {
		list, _ := listOf(s, q, k, q.Name, "")
		for i := range list.len() {
			f := list.at(i)
			t, known := s.Resolve(f.Name)
			st := w.stage(level{name: f.Name, target: t, id: s.ByID[f.Name] != nil, reason: k.reason(), fields: f.Fields}, !known)
			st.Barred = !mayReach(s, q, f.Name)
			for j := range st.Verdicts {
				st.Verdicts[j].Fallback = true
			}
			e.Stages = append(e.Stages, st)
		}
	}
	return e
}

func (w *Walk) stage(l level, unknown bool) Stage {
	st := Stage{Name: l.name, Reason: l.reason, Unknown: unknown}
	if !w.judge(&l) {
		if f := w.nothing(&l); f != nil {
			st.Refusal = f.Message
		}
	}
	st.Spill = w.spill
	total := 0.0
	for i := range w.pool {
		if w.pool[i].out == in {
			total += w.pool[i].weight
		}
	}
	for i := range w.pool {
		o := &w.pool[i]
		v := Verdict{Candidate: Candidate{Deployment: o.Deployment, Model: o.Model, Group: l.name}, Out: outNames[o.out], Until: o.until}
		if o.out == in && total > 0 && st.Refusal == "" {
			v.Chance = o.weight / total
		}
		st.Verdicts = append(st.Verdicts, v)
	}
	return st
}
