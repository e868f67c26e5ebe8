package call

import (
	"strings"

	"tollgate/proxy/route"
)

// attempts counts what the deployments of a call have done, where that is more
// than one answer of the first: every failure, and what fallbacks came to. The
// answer itself is counted with the call.
func (m *Metrics) attempts(c *call, o *outcome) {
	last := len(c.tried) - 1
	for i := range c.tried {
		t := &c.tried[i]
		class := t.Class
		if class == "" && i == last && o.fault != nil {
			class = string(o.fault.Class) // a stream that broke
		}
		m.count(t, i, c.tried)
		if class == "" {
			continue
		}
		s := m.table.of(c, c.req.model, t.Deployment)
		s.mu.Lock()
		s.served = true
		s.deployRequests++
		s.deployFailed.add(tally{status: exceptionStatus(class), class: class})
		s.mu.Unlock()
	}
	m.fallbacksOf(c, o)
}

// count counts why an attempt was made.
func (m *Metrics) count(t *route.Attempt, i int, tried []route.Attempt) {
	switch why, spilled := strings.CutPrefix(t.Reason, route.ReasonSpill); {
	case spilled:
		m.spills.WithLabelValues(why).Inc()
	case t.Reason != "":
		before := "None" // a rehearsal: nothing was asked before
		if i > 0 {
			before = none(tried[i-1].Class)
		}
		m.retries.WithLabelValues(t.Reason, before).Inc()
	}
}

// fallbacksOf counts each fallback of the call with the failure that led to the
// first of them.
func (m *Metrics) fallbacksOf(c *call, o *outcome) {
	for i := range c.tried {
		if !fellBack(&c.tried[i]) {
			continue
		}
		end := i + 1
		for end < len(c.tried) && !fellBack(&c.tried[end]) {
			end++
		}
		t := &c.tried[end-1]
		f := fallback{to: text(t.Group), answered: t.Class == "" && (o.fault == nil || end < len(c.tried))}
		if first, _ := c.way.First(); first != nil {
			f.status, f.class = first.Status, string(first.Class)
		}
		s := m.table.of(c, c.req.model, t.Deployment)
		s.mu.Lock()
		s.served = true
		s.fallbacks.add(f)
		s.mu.Unlock()
	}
}

// fallback counts calls that one model answered in place of another, or could
// not answer either.
type fallback struct {
	to       string
	status   int // of the failure that led to it
	class    string
	answered bool
	n        int64
}

type fallbacks []fallback

// maxFallbackSeries bounds the names that one series counts by: requests may name
// fallbacks of their own, and where a wildcard serves any name, endlessly many.
const maxFallbackSeries = 64

func (l *fallbacks) add(f fallback) {
	if l.inc(f) {
		return
	}
	f.n = 1
	if len(*l) < maxFallbackSeries {
		f.to = strings.Clone(f.to) // it may lie in the request's body
		*l = append(*l, f)
		return
	}
	f.to = other
	if !l.inc(f) && len(*l) < 2*maxFallbackSeries {
		*l = append(*l, f)
	}
}

func (l *fallbacks) inc(f fallback) bool {
	for i := range *l {
		if h := &(*l)[i]; h.to == f.to && h.status == f.status && h.class == f.class && h.answered == f.answered {
			h.n++
			return true
		}
	}
	return false
}

// that are those that answered, or those that did not.
func (l fallbacks) that(answered bool) fallbacks {
	var out fallbacks
	for _, f := range l {
		if f.answered == answered {
			out = append(out, f)
		}
	}
	return out
}
