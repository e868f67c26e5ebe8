package call

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// lanes are what the plan's deployments would ask of their own limits and
// budgets, in the plan's order.
func (e *explainer) lanes() []admit.Ask {
	c := e.c
	growing := c.growing
	defer func() { c.growing = growing }() // the caller's own stands
	asks := make([]admit.Ask, len(c.plan.Candidates))
	for i := range c.plan.Candidates {
		d := c.plan.Candidates[i].Deployment
		tokens := int64(0)
		if d.TPM != nil {
			tokens = c.tokenEstimate(c.principal.Alias(c.req.model), c.outputBound())
		}
		auth.LaneCharges(c.snap, d, tokens, &asks[i], c.h.Admit.LimitID)
		if len(asks[i].Budgets) > 0 {
			c.boundLane(&asks[i], d.Price, c.req.inputBound())
		}
	}
	return asks
}

// routing tells which deployments there are and which would be asked.
func (e *explainer) routing(lanes []admit.Outlook) {
	c := e.c
	full := map[string]*admit.Outlook{}
	for i := range lanes {
		full[c.plan.Candidates[i].Deployment.ID] = &lanes[i]
	}
	var without []string
	for id, o := range full {
		if o.No != nil {
			without = append(without, id)
		}
	}
	slices.Sort(without)
	e.onward()
	views := map[string]*route.View{}
	for i, f := range e.groups() {
		v := c.h.Router.View(c.snap.Routing, &c.plan, &c.wants, f, without)
		e.out.Strategy = v.Strategy
		views[f.Name] = &v
		for j := range v.Options {
			e.out.Candidates = append(e.out.Candidates, e.candidate(&v, &v.Options[j], f.Name, i > 0, full[v.Options[j].Deployment.ID]))
		}
	}
	e.leftOut(views)
	e.choose(views, full)
}

// leftOut notes what the configuration says of deployments that cannot be used as
// they are written; most of them are not among the candidates.
func (e *explainer) leftOut(views map[string]*route.View) {
	if e.narrow {
		return
	}
	for _, w := range e.c.snap.Routing.Warnings {
		group, _, _ := strings.Cut(strings.TrimPrefix(w, "model "), ": ")
		if views[group] != nil {
			e.say("the configuration warns: " + w)
		}
	}
}

// groups are the group asked for, then the fallbacks that the caller may reach.
func (e *explainer) groups() []route.Fallback {
	c := e.c
	out := []route.Fallback{{Name: c.wants.Name}}
	for from := 0; from < len(out); from++ {
		on := c.h.Router.Onward(c.snap.Routing, &c.wants, out[from].Name)
		for _, list := range [...][]route.Fallback{on.General, on.Context, on.Content} {
			for _, f := range list {
				known := slices.ContainsFunc(out, func(o route.Fallback) bool { return o.Name == f.Name })
				if _, found := c.snap.Routing.Resolve(f.Name); found && !known && route.MayReach(c.snap.Routing, &c.wants, f.Name) {
					out = append(out, f)
				}
			}
		}
	}
	return out
}

func (e *explainer) onward() {
	c := e.c
	on := c.h.Router.Onward(c.snap.Routing, &c.wants, c.wants.Name)
	shown := func(list []route.Fallback) []Fallback {
		var out []Fallback
		for _, f := range list {
			x := Fallback{Model: f.Name, OK: true}
			if _, found := c.snap.Routing.Resolve(f.Name); !found {
				x.OK, x.Why = false, "there is no such model"
			} else if !route.MayReach(c.snap.Routing, &c.wants, f.Name) {
				x.OK, x.Why = false, "the caller may not use it"
			}
			out = append(out, x)
		}
		return out
	}
	f := &Fallbacks{General: shown(on.General), Context: shown(on.Context), Content: shown(on.Content)}
	if len(f.General)+len(f.Context)+len(f.Content) > 0 {
		e.out.Fallbacks = f
	}
}

// filters tells in words why a deployment is left out.
var filters = map[string]string{
	"region_not_allowed": "its region is not one that the caller's data may be in",
	"context_window":     "the input is larger than it takes",
	"response_format":    "it is not known to support response_format",
	"order":              "deployments of a lower order come first",
	"tags":               "its tags do not fit those of the call",
	"full":               "its limits or budgets have no room",
	"limit":              "it has been sent as much this minute as it may",
	"other_region":       "deployments of this node's region come first",
}

func (e *explainer) candidate(v *route.View, o *route.Option, group string, fallback bool, lane *admit.Outlook) Candidate {
	d := o.Deployment
	k := Candidate{ID: d.ID, Group: group, Model: shownModel(d, o.Model), Provider: d.Provider, Region: d.Region, APIBase: shownBase(d.APIBase),
		Fallback: fallback, Verdict: "ok", Probability: o.Chance, Order: d.Order, Weight: d.Weight, Tags: d.Tags, MaxInput: d.MaxInput,
		InFlight: o.InFlight, Requests: o.Requests, Tokens: o.Tokens, Latency: o.Latency}
	if v.Strategy != "simple-shuffle" {
		k.Score = &o.Measure
	}
	k.InputPrice, k.OutputPrice = priceOf(d.Price, price.Input), priceOf(d.Price, price.Output)
	if lane != nil && !e.narrow { // what a deployment or provider may take is the operator's
		for i := range lane.Budgets {
			k.Limits = append(k.Limits, e.budget(&lane.Budgets[i]))
		}
		for i := range lane.Rates {
			k.Limits = append(k.Limits, e.rate(&lane.Rates[i]))
		}
	}
	if !o.Until.IsZero() {
		until := o.Until.UTC()
		k.Until = &until
	}
	switch {
	case o.Out == "cooling":
		k.Verdict, k.Reason = o.Out, "cooling until "+stamp(o.Until)+": "+o.Why
	case o.Out != "":
		k.Verdict, k.Reason = o.Out, filters[o.Out]
		if o.Out == "order" && d.Order == nil {
			k.Reason = "deployments that have an order come first"
		}
		if o.Out == "full" && lane != nil && lane.No != nil && !e.narrow {
			k.Reason = e.c.whyFull(lane.No)
		}
	case d.Problem != "":
		k.Reason = "it would fail: " + d.Problem
	case k.Until != nil:
		k.Reason = "cooling, but asked all the same: " + o.Why
	}
	if _, serves := e.c.h.Providers(d.Provider, e.c.op); !serves && k.Verdict == "ok" {
		k.Reason = "it would fail: provider " + d.Provider + " does not serve " + e.c.routeName()
	}
	return k
}

func shownModel(d *state.Deployment, sent string) string {
	if d.Wildcard {
		return d.Provider + "/" + sent
	}
	return d.FullModel
}

func priceOf(row *price.Row, class price.Class) *float64 {
	p, ok := row.Price(class)
	if !ok {
		return nil
	}
	f := float64(p) / (float64(unit.Dollar) * 1000)
	return &f
}

// choose takes the way of the first attempt. Where chance decides, the likeliest
// deployment stands for it.
func (e *explainer) choose(views map[string]*route.View, full map[string]*admit.Outlook) {
	c := e.c
	c.way.Begin(c.h.Router, c.snap.Routing, &c.plan, &c.wants)
	c.rehearse()
	step, ok := c.way.Next()
	for ; ok; step, ok = c.way.Next() {
		lane := full[step.Deployment.ID]
		if lane == nil || lane.No == nil {
			break
		}
		c.passOver(lane.No)
		c.way.PassOver()
	}
	first, _ := c.way.First()
	if !ok {
		if first == nil {
			first = provider.NewError(provider.InternalServer, "no deployment was tried")
		}
		e.check("routing", "", c.refusalOf(first))
		return
	}
	v := views[step.Group]
	ch := &Chosen{ID: step.Deployment.ID, Group: step.Group, Model: shownModel(step.Deployment, step.Model), Probability: 1, Reason: step.Reason}
	if v != nil {
		e.likeliest(v, ch)
	}
	e.out.Chosen = ch
	e.out.Retries = &Retries{Same: c.retries(c.deployment(ch.ID)), MaxFallbacks: c.h.Router.MaxFallbacks(c.snap.Routing)}
	what := "a deployment of " + step.Group + " can be asked"
	if first != nil {
		what += "; before that: " + first.Message
	}
	e.check("routing", what, nil)
}

func (c *call) deployment(id string) *state.Deployment { return c.snap.Routing.ByID[id] }

// likeliest puts the option of the best chance in the place of the one drawn.
func (e *explainer) likeliest(v *route.View, ch *Chosen) {
	in := 0
	best := -1
	for i := range v.Options {
		if v.Options[i].Out == "" && v.Options[i].Chance > 0 {
			in++
			if best < 0 || v.Options[i].Chance > v.Options[best].Chance {
				best = i
			}
		}
	}
	if best < 0 {
		return
	}
	o := &v.Options[best]
	ch.ID, ch.Model, ch.Probability = o.Deployment.ID, shownModel(o.Deployment, o.Model), o.Chance
	switch {
	case len(v.Options) == 1:
		ch.Rule = "the only deployment of " + ch.Group
	case in == 1:
		ch.Rule = "the only one of " + strconv.Itoa(len(v.Options)) + " deployments of " + ch.Group + " that is left"
		if v.Strategy != "simple-shuffle" {
			ch.Rule = "the first of " + strconv.Itoa(len(v.Options)) + " deployments of " + ch.Group + " by " + v.Strategy + " (" + v.By + ")"
		}
	default:
		ch.Rule = fmt.Sprintf("with a chance of %.0f %% among %d deployments of %s by %s (%s)", 100*o.Chance, in, ch.Group, v.Strategy, v.By)
	}
	if v.Spill != "" {
		ch.Rule += "; none of this node's region can be asked (" + strings.TrimPrefix(v.Spill, route.ReasonSpill) + ")"
	}
}
