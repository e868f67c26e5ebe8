package route

import (
	"strings"

	"tollgate/config/state"
	"tollgate/proxy/provider"
)

// kind is which of the fallback settings a failure leads to.
type kind uint8

const (
	general kind = iota
	contextWindow
	content
)

func (k kind) reason() string {
	switch k {
	case contextWindow:
		return ReasonContext
	case content:
		return ReasonContent
	}
	return ReasonGeneral
}

// targets is a list of fallbacks: the configuration's names or the request's own.
type targets struct {
	names []string
	own   []Fallback
}

func (t targets) len() int {
	if t.own != nil {
		return len(t.own)
	}
	return len(t.names)
}

func (t targets) at(i int) Fallback {
	if t.own != nil {
		return t.own[i]
	}
	return Fallback{Name: t.names[i]}
}

// listOf finds the fallbacks of a name, and whether there is such a setting at
// all. picked is the group that an alias led to.
func listOf(s *state.Routing, q *Request, k kind, name, picked string) (list targets, set bool) {
	own := q.Fallbacks
	maps := [2]map[string][]string{s.Config.Router.Fallbacks, s.Config.LiteLLM.Fallbacks}
	switch k {
	case contextWindow:
		own = q.ContextFallbacks
		maps = [2]map[string][]string{s.Config.Router.ContextFallbacks, s.Config.LiteLLM.ContextFallbacks}
	case content:
		own = q.ContentFallbacks
		maps = [2]map[string][]string{s.Config.Router.ContentFallbacks, s.Config.LiteLLM.ContentFallbacks}
	}
	set = own != nil || len(maps[0])+len(maps[1]) > 0
	if !set {
		return targets{}, false
	}
	if own != nil {
		return targets{own: own}, true
	}
	for _, key := range [...]string{name, bare(name), picked, bare(picked), "*"} {
		if key == "" {
			continue
		}
		for _, m := range maps {
			if l, ok := m[key]; ok {
				return targets{names: l}, true
			}
		}
	}
	return targets{}, true
}

// bare is a name without its provider's prefix; "" when it has none.
func bare(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	return rest
}

// kindOf is the setting that a failure leads to, by LiteLLM's rule: a setting for
// its class that exists stands in place of the general one, also where it has no
// entry for the group.
func (w *Walk) kindOf(f *provider.Error, l *level) kind {
	switch f.Class {
	case provider.ContextWindow:
		if _, set := listOf(w.s, w.q, contextWindow, l.name, l.picked); set {
			return contextWindow
		}
	case provider.ContentPolicy:
		if _, set := listOf(w.s, w.q, content, l.name, l.picked); set {
			return content
		}
	}
	return general
}

// Leads reports whether a failure of a class would lead to a fallback that is
// meant for it, or for everything: one that the configuration names for the
// group's other failures is none.
func (w *Walk) Leads(class provider.Class) bool {
	if w.q == nil || w.q.NoFallbacks || len(w.levels) == 0 || w.depth >= w.set.maxFallbacks {
		return false
	}
	l := w.top()
	k := w.kindOf(&provider.Error{Class: class}, l)
	list, _ := listOf(w.s, w.q, k, l.name, l.picked)
	if k == general && w.q.Fallbacks == nil {
		list, _ = listOf(w.s, w.q, general, "*", "")
	}
	for i := range list.len() {
		f := list.at(i)
		if f.Fields == nil && w.visited(f.Name) || !mayReach(w.s, w.q, f.Name) {
			continue
		}
		if _, known := w.s.Resolve(f.Name); known {
			return true
		}
	}
	return false
}

// onward goes to the next fallback after the level on top has failed with f, or
// ends the walk.
func (w *Walk) onward(f *provider.Error) {
	l := w.top()
	// What a provider rejects as it stands is rejected elsewhere too; a model that
	// is nowhere was rejected by none.
	w.rejected = w.rejected || final(f.Class) && l.asked && l.fields == nil
	if !l.spent {
		l.spent = true
		if !w.q.NoFallbacks && w.depth < w.set.maxFallbacks {
			l.then = w.kindOf(f, l)
			l.list, _ = listOf(w.s, w.q, l.then, l.name, l.picked)
		}
		if len(w.levels) == 1 {
			w.listed = l.list
		}
	}
	for len(w.levels) > 0 {
		l = w.top()
		for l.next < l.list.len() {
			t := l.list.at(l.next)
			l.next++
			if w.enter(t, l.then) {
				return
			}
		}
		w.levels = w.levels[:len(w.levels)-1]
	}
	w.done = true
}

// enter begins with a fallback, unless it may not or need not be tried.
func (w *Walk) enter(f Fallback, k kind) bool {
	if f.Name == "" || f.Fields == nil && (w.rejected || w.visited(f.Name)) || !mayReach(w.s, w.q, f.Name) {
		return false
	}
	t, known := w.s.Resolve(f.Name)
	if !known {
		return false // the configuration was warned of it when it was loaded
	}
	w.depth++
	w.rejected = false
	w.names = append(w.names, f.Name)
	fields := f.Fields
	if fields == nil {
		fields = w.top().fields // a fallback's own fallbacks get the request that failed there
	}
	w.levels = append(w.levels, level{name: f.Name, target: t, fields: fields, reason: k.reason(), id: w.s.ByID[f.Name] != nil})
	w.reason, w.wait = k.reason(), 0
	return true
}

// final classes are the caller's own mistakes.
func final(c provider.Class) bool {
	switch c {
	case provider.BadRequest, provider.UnsupportedParams, provider.UnprocessableEntity:
		return true
	}
	return false
}
