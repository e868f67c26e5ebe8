package route

import (
	"time"

	"tollgate/config/state"
	"tollgate/proxy/provider"
)

// View is how a group's deployments stand for a request at this moment: what
// the choice would go by, for people who ask why.
type View struct {
	Strategy string // by LiteLLM's name
	By       string // what the chances follow: weight, rpm, tpm, alike, or what the strategy compares
	Spill    string // why deployments outside the node's region are asked; "" where they are not
	Options  []Option
	// Fault is what the group would fail with before anything is asked; nil: there
	// is something to ask.
	Fault *provider.Error
}

// Option is one deployment of a View.
type Option struct {
	Deployment *state.Deployment
	Model      string    // as the provider knows it
	Out        string    // why it is left out; "" when it may be asked
	Until      time.Time // when it no longer cools; zero: it does not
	Why        string    // it cools
	Chance     float64   // of being the one that is asked, up to 1
	Measure    float64   // what the strategy compares, the lower the better

	// This minute's, on all nodes as far as known, where the strategy counts.
	Requests, Tokens int64
	InFlight         int
	Latency          float64 // in seconds, as the strategy compares it; 0: unknown
}

// View tells how the deployments of a group stand: of the group asked for, or of
// a fallback with the fields that overwrite the request there. full are ids of
// deployments without room. It asks nobody and counts nothing.
func (r *Router) View(s *state.Routing, p *Plan, q *Request, f Fallback, full []string) View {
	w := Walk{}
	w.Begin(r, s, p, q)
	w.full = full
	l := w.top()
	if f.Name != q.Name {
		t, _ := s.Resolve(f.Name)
		*l = level{name: f.Name, target: t, fields: f.Fields, id: s.ByID[f.Name] != nil}
	}
	v := View{Strategy: strategyName(s), By: "alike"}
	if !w.judge(l) {
		v.Fault = w.nothing(l)
	} else {
		v.Spill, v.By = w.spill, w.by()
	}
	now := r.cfg.Clock.Now()
	total := 0.0
	for i := range w.pool {
		if w.pool[i].out == in {
			total += w.pool[i].weight
		}
	}
	for i := range w.pool {
		o := &w.pool[i]
		x := Option{Deployment: o.Deployment, Model: o.Model, Out: outNames[o.out], Until: o.until, Measure: o.key}
		if v.Fault == nil && o.out == in && total > 0 {
			x.Chance = o.weight / total
		}
		x.Requests, x.Tokens = r.usage(o.Deployment.ID, now)
		x.InFlight, _ = r.busy(o.Deployment.ID)
		x.Latency = r.latency(o.Deployment.ID, q.Stream, now, w.set.ttl)
		if h := r.cfg.Health; h != nil {
			if until, why, cools := h.Cooling(o.Deployment); cools {
				x.Until, x.Why = until, why
			}
		}
		v.Options = append(v.Options, x)
	}
	return v
}

func strategyName(s *state.Routing) string {
	if name := s.Config.Router.Strategy; name != "" {
		return name
	}
	return "simple-shuffle"
}

// by is what the chances of the pool follow.
func (w *Walk) by() string {
	switch w.set.strategy {
	case LeastBusy:
		return "calls in flight"
	case UsageBased:
		return "tokens this minute"
	case LatencyBased:
		return "latency"
	case CostBased:
		return "price"
	}
	for _, x := range [...]struct {
		name string
		of   func(*state.Deployment) (float64, bool)
	}{{"weight", weightOf}, {"rpm", rpmOf}, {"tpm", tpmOf}} {
		if states(w.pool, x.of) {
			return x.name
		}
	}
	return "alike"
}

// Onward are the fallbacks that a group may lead to, by the kind of failure. A
// nil list says that there is no such setting: the general one holds.
type Onward struct{ General, Context, Content []Fallback }

// Onward lists a group's fallbacks, also those that the caller may not reach.
func (r *Router) Onward(s *state.Routing, q *Request, group string) Onward {
	list := func(k kind) []Fallback {
		found, set := listOf(s, q, k, group, "")
		if !set || q.NoFallbacks {
			return nil
		}
		out := []Fallback{}
		for i := range found.len() {
			if f := found.at(i); f.Name != "" && f.Name != group {
				out = append(out, f)
			}
		}
		return out
	}
	return Onward{General: list(general), Context: list(contextWindow), Content: list(content)}
}

// MaxFallbacks is how many fallbacks one call may try.
func (r *Router) MaxFallbacks(s *state.Routing) int { return r.settingsOf(s).maxFallbacks }

// MayReach reports whether a fallback may serve the caller.
func MayReach(s *state.Routing, q *Request, name string) bool { return mayReach(s, q, name) }
