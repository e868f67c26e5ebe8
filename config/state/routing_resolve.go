package state

import (
	"slices"
	"strings"

	"tollgate/config/wildcard"
)

// routingIndex is what Resolve looks into.
type routingIndex struct {
	c       *compiler
	targets map[string]Target        // ids, aliases, groups
	byModel map[string][]*Deployment // litellm_params.model
	listed  []string                 // for /v1/models, in order
}

// Choice is one deployment that may answer, and the model name to send it.
type Choice struct {
	Deployment *Deployment
	Model      string
	Group      string  // the group it was found in: for an alias, the one it stands for
	Share      float64 // of the load, when nothing else weighs; the choices' sum is 1
}

// Target is what a model name stands for.
type Target struct {
	Name    string // as it was asked for
	Alias   bool
	choices []Choice
}

// Deployments are the choices, in the order of the configuration. The slice is
// shared and must not be written.
func (t Target) Deployments() []Choice { return t.choices }

// Resolve finds what a model name stands for: a deployment id, an alias, a
// group, a wildcard, a bare name whose provider has a wildcard, the default
// "*", or a deployment's own model string.
func (r *Routing) Resolve(name string) (Target, bool) {
	if r == nil {
		return Target{}, false
	}
	if t, ok := r.index.targets[name]; ok {
		return t, true
	}
	return r.resolvePattern(name)
}

// resolveGroup is Resolve for the right-hand side of an alias: aliases do not
// lead to aliases.
func (r *Routing) resolveGroup(name string) (Target, bool) {
	if g, ok := r.Groups[name]; ok {
		return Target{Name: name, choices: choices(name, g.Deployments)}, true
	}
	if d, ok := r.ByID[name]; ok && !d.Wildcard { // a wildcard's id names no model to send
		return Target{Name: name, choices: choices(d.Group, []*Deployment{d})}, true
	}
	for _, p := range r.Patterns {
		if p.Name == name { // the alias of a whole wildcard has no model to send
			return Target{}, false
		}
	}
	return r.resolvePattern(name)
}

func (r *Routing) resolvePattern(name string) (Target, bool) {
	// A star in the name would be sent to the provider as it is.
	if name == "" || wildcard.Is(name) {
		return Target{}, false
	}
	if t, ok := r.match(name, name, false); ok {
		return t, true
	}
	if p := infer(name); p != "" && !strings.Contains(name, "/") {
		if t, ok := r.match(p+"/"+name, name, false); ok {
			return t, true
		}
	}
	if t, ok := r.match(name, name, true); ok {
		return t, true
	}
	if list := r.index.byModel[name]; len(list) > 0 {
		return Target{Name: name, choices: choices(list[0].Group, list)}, true
	}
	return Target{}, false
}

// match tries the wildcards, longest first; "*" alone only when asked to.
func (r *Routing) match(text, name string, all bool) (Target, bool) {
	for _, p := range r.Patterns {
		if (p.Name == "*") != all {
			continue
		}
		captures, ok := wildcard.Capture(p.Name, text)
		if !ok {
			continue
		}
		named := make([]*Deployment, 0, len(p.Deployments))
		for _, d := range p.Deployments {
			if n := r.fill(d, text, captures); n != nil {
				named = append(named, n)
			}
		}
		if len(named) == 0 {
			continue
		}
		return Target{Name: name, choices: choices(p.Name, named)}, true
	}
	return Target{}, false
}

// fill puts what the stars captured into the deployment's own model.
func (r *Routing) fill(d *Deployment, name string, captures []string) *Deployment {
	if !wildcard.Is(d.requested) {
		return d
	}
	full, ok := wildcard.Fill(d.requested, captures)
	if !ok {
		full = name
	}
	// "openai/gpt-4o" through "*" to "openai/*" already has its provider.
	if prefix, rest, found := strings.Cut(full, "/"); found && strings.HasPrefix(rest, prefix+"/") {
		full = rest
	}
	return r.index.c.named(d, full)
}

// choices makes equal shares of deployments. Those with a problem are left out
// as long as there is another.
func choices(group string, list []*Deployment) []Choice {
	usable := list
	if slices.ContainsFunc(list, func(d *Deployment) bool { return d.Problem == "" }) {
		usable = slices.DeleteFunc(slices.Clone(list), func(d *Deployment) bool { return d.Problem != "" })
	}
	out := make([]Choice, 0, len(usable))
	for _, d := range usable {
		out = append(out, Choice{Deployment: d, Model: d.Model, Group: group, Share: 1 / float64(len(usable))})
	}
	return out
}

// share joins the choices of several names, each name with the same share. A
// name that cannot be called at all leaves its share to the others.
func share(names [][]Choice) []Choice {
	good := slices.DeleteFunc(slices.Clone(names), func(l []Choice) bool { return len(l) == 0 || l[0].Deployment.Problem != "" })
	if len(good) == 0 {
		good = names
	}
	var out []Choice
	for _, list := range good {
		for _, c := range list {
			c.Share /= float64(len(good))
			out = append(out, c)
		}
	}
	return out
}

// VisibleModels are the names for a model list: groups and wildcards in the
// order of the configuration, then aliases, without hidden ones.
func (r *Routing) VisibleModels() []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.index.listed)
}

// AccessNames are the access groups that open a name, also for names that a
// wildcard serves.
func (r *Routing) AccessNames(name string) []string {
	if r == nil {
		return nil
	}
	if g, ok := r.Groups[name]; ok {
		return g.AccessNames
	}
	t, ok := r.Resolve(name)
	if !ok {
		return nil
	}
	var out []string
	for _, c := range t.choices {
		for _, a := range c.Deployment.AccessGroups {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// KnownModels lists the models that the price book knows of a wildcard's
// provider, under the names that clients would use.
func (r *Routing) KnownModels(pattern string) []string {
	var out []string
	for _, p := range r.Patterns {
		if p.Name != pattern || r.Prices == nil || len(p.Deployments) == 0 {
			continue
		}
		d := p.Deployments[0]
		if d.Provider == "" {
			continue
		}
		for _, m := range r.Prices.Known(d.Provider) {
			if captures, ok := wildcard.Capture(d.requested, d.Provider+"/"+m); ok {
				if name, ok := wildcard.Fill(pattern, captures); ok {
					out = append(out, name)
				}
			}
		}
	}
	return out
}
