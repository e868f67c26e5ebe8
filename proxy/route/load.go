package route

import (
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/state"
)

// load is what this node has lately sent to one deployment.
type load struct {
	inFlight atomic.Int64
	requests perMinute
	tokens   perMinute

	mu     sync.Mutex // guards the samples
	each   samples    // seconds for a token of an answer
	firsts samples    // seconds to the first token of a stream
}

// perMinute is a count that begins anew with every minute: the minute above, the
// count below, in one word, so that no addition falls between two minutes.
type perMinute struct{ word atomic.Uint64 }

const (
	countBits = 40
	countMask = 1<<countBits - 1
)

func minuteOf(t time.Time) uint64 { return uint64(t.Unix()/60) & (1<<(64-countBits) - 1) }

func (p *perMinute) add(now time.Time, n int64) {
	minute := minuteOf(now)
	for {
		old := p.word.Load()
		count := uint64(0)
		if old>>countBits == minute {
			count = old & countMask
		}
		count = min(count+uint64(max(n, 0)), countMask)
		if p.word.CompareAndSwap(old, minute<<countBits|count) {
			return
		}
	}
}

func (p *perMinute) get(now time.Time) int64 {
	w := p.word.Load()
	if w>>countBits != minuteOf(now) {
		return 0
	}
	return int64(w & countMask)
}

// samples are the latest of a measure, oldest first.
type samples struct {
	values []float64
	last   time.Time
}

func (s *samples) add(now time.Time, v float64, most int) {
	if n := len(s.values) + 1 - most; n > 0 {
		s.values = append(s.values[:0], s.values[n:]...)
	}
	s.values = append(s.values, v)
	s.last = now
}

// mean is false when there are none, or none in the time they live.
func (s *samples) mean(now time.Time, ttl time.Duration) (float64, bool) {
	if len(s.values) == 0 || now.Sub(s.last) > ttl {
		return 0, false
	}
	sum := 0.0
	for _, v := range s.values {
		sum += v
	}
	return sum / float64(len(s.values)), true
}

// Use is one attempt's place in the counts of its deployment. The zero value
// stands for an attempt that nobody counts.
type Use struct {
	r    *Router
	load *load
	set  *settings
}

// Begin counts an attempt that is about to be made.
func (r *Router) Begin(s *state.Routing, d *state.Deployment) Use {
	set := r.settingsOf(s)
	if !set.counts() {
		return Use{}
	}
	l := r.loadOf(d.ID)
	l.inFlight.Add(1)
	l.requests.add(r.cfg.Clock.Now(), 1)
	return Use{r: r, load: l, set: set}
}

// Took is how an attempt went, for the counts.
type Took struct {
	Kind       Kind
	Whole      time.Duration // from asking to the last byte; 0 unknown
	FirstToken time.Duration // of a stream; 0 otherwise
	Output     int64         // tokens of the answer
	Total      int64         // tokens of question and answer
}

// slow is the sample, in seconds, of a deployment that did not answer in time.
const slow = 1000

// End says how the attempt went. Later calls do nothing.
func (u *Use) End(t Took) {
	l := u.load
	if l == nil {
		return
	}
	u.load = nil
	l.inFlight.Add(-1)
	now := u.r.cfg.Clock.Now()
	if t.Kind == OK && t.Total > 0 {
		l.tokens.add(now, t.Total)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case t.Kind == Timeout:
		l.each.add(now, slow, u.set.samples)
		return
	case t.Kind != OK || t.Whole <= 0:
		return
	}
	l.each.add(now, t.Whole.Seconds()/float64(max(t.Output, 1)), u.set.samples)
	if t.FirstToken > 0 {
		l.firsts.add(now, t.FirstToken.Seconds(), u.set.samples)
	}
}

func (r *Router) loadOf(id string) *load {
	if l, ok := r.loads.Load(id); ok {
		return l.(*load)
	}
	l, _ := r.loads.LoadOrStore(id, &load{})
	return l.(*load)
}

// known is a deployment's load, nil when nothing was sent there yet.
func (r *Router) known(id string) *load {
	if l, ok := r.loads.Load(id); ok {
		return l.(*load)
	}
	return nil
}

// Usage tells what this node has sent to each deployment, until yield is false.
func (r *Router) Usage(yield func(Usage) bool) {
	now := r.cfg.Clock.Now()
	r.loads.Range(func(id, v any) bool {
		l := v.(*load)
		return yield(Usage{ID: id.(string), Minute: now.Truncate(time.Minute), Requests: l.requests.get(now), Tokens: l.tokens.get(now), InFlight: int(l.inFlight.Load())})
	})
}

// busy is how many calls a deployment has at work, and whether some of them are
// other nodes'.
func (r *Router) busy(id string) (inFlight int, others bool) {
	if l := r.known(id); l != nil {
		inFlight = int(l.inFlight.Load())
	}
	if r.cfg.Load != nil {
		_, _, n := r.cfg.Load.Others(id)
		return inFlight + n, n > 0
	}
	return inFlight, false
}

// usage sums this node's and the others' work of a deployment this minute.
func (r *Router) usage(id string, now time.Time) (requests, tokens int64) {
	if l := r.known(id); l != nil {
		requests, tokens = l.requests.get(now), l.tokens.get(now)
	}
	if r.cfg.Load != nil {
		q, t, _ := r.cfg.Load.Others(id)
		requests, tokens = requests+q, tokens+t
	}
	return requests, tokens
}

// latency is a deployment's in seconds, as the strategy compares it: this node's
// own samples, else what is told of it; 0 when nothing is known.
func (r *Router) latency(id string, stream bool, now time.Time, ttl time.Duration) float64 {
	if l := r.known(id); l != nil {
		l.mu.Lock()
		first, hasFirst := l.firsts.mean(now, ttl)
		each, hasEach := l.each.mean(now, ttl)
		l.mu.Unlock()
		switch {
		case stream && hasFirst:
			return first
		case hasEach:
			return each
		}
	}
	if told, ok := r.cfg.Health.(Latencies); ok {
		each, first, ok := told.Latency(id)
		switch {
		case !ok:
		case stream && first > 0:
			return first
		default:
			return each
		}
	}
	return 0
}

// forget drops what is known of deployments that are gone, so that a cluster
// whose models come and go keeps no memory of each.
func (r *Router) forget(s *state.Routing) {
	r.loads.Range(func(id, v any) bool {
		if s.ByID[id.(string)] == nil && v.(*load).inFlight.Load() == 0 {
			r.loads.Delete(id)
		}
		return true
	})
}
