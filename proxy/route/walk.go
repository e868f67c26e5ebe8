package route

import (
	"math"
	"slices"
	"time"

	"tollgate/config/state"
	"tollgate/proxy/provider"
)

// Walk is one call's way through its plan: Next says which deployment to ask,
// Failed is told how that went wrong. It is kept and begun anew, for its memory,
// and belongs to one goroutine.
type Walk struct {
	r   *Router
	s   *state.Routing
	q   *Request
	set *settings

	plan     *Plan
	levels   []level // the group asked for, and the fallbacks that it led to
	pool     []option
	names    []string // groups entered
	failed   []string // ids of deployments that have failed the call
	full     []string // ids of those without room, since the group was last asked anew
	depth    int
	reason   string
	wait     time.Duration
	spill    string
	rejected bool // the request as it stands was found faulty
	done     bool
	first    *provider.Error
	last     *provider.Error
	lastOf   string // the group of last
	own      bool   // first is the router's own word
	asked    *state.Deployment
	listed   targets // the fallbacks of the group asked for, once it has failed
}

// level is one group on the way.
type level struct {
	name   string
	target state.Target
	id     bool   // the name is a deployment's id
	fields []byte // that overwrite the request
	reason string
	picked string // the group that the last choice was found in
	asked  bool

	retries   int // made since the level or its present order began
	waits     int
	lastOrder int  // of the last choice
	behind    bool // only orders from least on are chosen from
	least     int
	failure   *provider.Error

	spent bool // the fallbacks have been looked up
	then  kind
	list  targets
	next  int
}

// Step is one deployment to ask.
type Step struct {
	Candidate
	Reason string
	Wait   time.Duration // before it is asked
	Fields []byte        // a JSON object that overwrites the request's fields; nil: none
	Alone  bool          // nothing else is left to ask instead
}

// Begin starts the walk of a request over its plan. All must stay as they are
// until the walk ends.
func (w *Walk) Begin(r *Router, s *state.Routing, p *Plan, q *Request) {
	if w.r != nil {
		w.Reset()
	}
	w.r, w.s, w.q, w.plan, w.set = r, s, q, p, r.settingsOf(s)
	w.levels = append(w.levels, level{name: q.Name, target: p.own, id: s.ByID[q.Name] != nil})
	w.names = append(w.names, q.Name)
}

// Reset forgets the walk but for its memory.
func (w *Walk) Reset() {
	clear(w.levels)
	clear(w.pool)
	*w = Walk{levels: w.levels[:0], pool: w.pool[:0], names: w.names[:0], failed: w.failed[:0], full: w.full[:0]}
}

func (w *Walk) top() *level { return &w.levels[len(w.levels)-1] }

func (w *Walk) visited(name string) bool { return slices.Contains(w.names, name) }

// turn begins another choice in the same group; what had no room may have some
// by now.
func (w *Walk) turn(reason string, wait time.Duration) {
	w.reason, w.wait, w.full = reason, wait, w.full[:0]
}

// Next is the deployment to ask now; false when the call has failed.
func (w *Walk) Next() (Step, bool) {
	for !w.done {
		l := w.top()
		if o := w.pick(l); o != nil {
			l.asked, l.picked, l.lastOrder = true, o.Group, order(o.Deployment)
			w.asked = o.Deployment
			s := Step{Candidate: Candidate{Deployment: o.Deployment, Model: o.Model, Group: l.name, Fallback: len(w.levels) > 1},
				Reason: w.reason, Wait: w.wait, Fields: l.fields, Alone: w.alone()}
			if s.Reason == "" {
				s.Reason = w.spill
			}
			return s, true
		}
		f := l.failure
		if f == nil {
			f = w.nothing(l)
			w.note(f, l, true)
		}
		w.onward(f)
	}
	return Step{}, false
}

// alone reports whether nothing else could be asked in place of the last choice.
func (w *Walk) alone() bool {
	if len(w.plan.Candidates) == 1 {
		return true
	}
	for i := range w.plan.Candidates {
		if id := w.plan.Candidates[i].Deployment.ID; id != w.asked.ID && !slices.Contains(w.failed, id) && !slices.Contains(w.full, id) {
			return false
		}
	}
	return true
}

// PassOver says that the deployment last given has no room: another is wanted in
// its place.
func (w *Walk) PassOver() {
	w.full = append(w.full, w.asked.ID)
	w.wait = 0 // it has been waited for
}

// Failed says that the deployment last given has failed, and what follows from
// that. Health must have been told before.
func (w *Walk) Failed(f *provider.Error) {
	l := w.top()
	w.note(f, l, false)
	if !slices.Contains(w.failed, w.asked.ID) {
		w.failed = append(w.failed, w.asked.ID)
	}
	l.failure = f
	switch {
	case w.again(l, f):
	case w.nextOrder(l, f):
	default:
		w.onward(f)
	}
}

// Raise makes the group asked for fail before anything of it is asked.
func (w *Walk) Raise(f *provider.Error) {
	l := w.top()
	w.note(f, l, false)
	l.failure = f
	w.onward(f)
}

func (w *Walk) note(f *provider.Error, l *level, own bool) {
	if w.first == nil {
		w.first, w.own = f, own
	}
	w.last, w.lastOf = f, l.name
}

// nextOrder goes on with the deployments of the next higher order, when there are
// any.
func (w *Walk) nextOrder(l *level, f *provider.Error) bool {
	if final(f.Class) || f.Class == provider.ContextWindow || f.Class == provider.ContentPolicy {
		return false
	}
	next := math.MaxInt
	for _, c := range l.target.Deployments() {
		if n := order(c.Deployment); n > l.lastOrder && !slices.Contains(w.failed, c.Deployment.ID) {
			next = min(next, n)
		}
	}
	if next == math.MaxInt {
		return false
	}
	l.behind, l.least, l.retries, l.waits = true, next, 0, 0
	w.turn(ReasonOrder, 0)
	return true
}

// First is the failure that the client is told of: the first one. own reports one
// that no deployment has given.
func (w *Walk) First() (f *provider.Error, own bool) { return w.first, w.own }

// Last is the failure of the last fallback that was tried, and its group; nil
// when none was.
func (w *Walk) Last() (*provider.Error, string) {
	if w.last == w.first || w.depth == 0 {
		return nil, ""
	}
	return w.last, w.lastOf
}

// Depth is how many fallbacks were tried.
func (w *Walk) Depth() int { return w.depth }

// Fallbacks are the names to which a failure of the group asked for may lead.
func (w *Walk) Fallbacks() []string {
	if w.q == nil || w.q.NoFallbacks {
		return nil
	}
	list := w.listed
	if list.len() == 0 {
		list, _ = listOf(w.s, w.q, general, w.q.Name, "")
	}
	var out []string
	for i := range list.len() {
		name := list.at(i).Name
		if name == "" || name == w.q.Name || slices.Contains(out, name) || !mayReach(w.s, w.q, name) {
			continue
		}
		if _, known := w.s.Resolve(name); known {
			out = append(out, name)
		}
	}
	return out
}
