package health

import (
	"sync"
	"time"
)

const (
	// span is how far back the window of outcomes looks.
	span = 10 * time.Second
	// latencySpan is how far back samples of latency count.
	latencySpan = time.Minute
	slots       = 10
	sampleSlots = 12
	// enoughSamples is how many make a node's own latency worth more than the
	// region's.
	enoughSamples = 20
	smoothing     = 0.2
)

// slot counts the outcomes of one second.
type slot struct {
	second int64
	counts [outcomes]uint32
}

// sampleSlot counts the latency samples of five seconds.
type sampleSlot struct {
	period int64
	n      uint32
}

// local is what this node has seen of one deployment.
type local struct {
	mu      sync.Mutex // guards all of it; held for nanoseconds
	slots   [slots]slot
	samples [sampleSlots]sampleSlot
	latency float64 // nanoseconds, smoothed
	first   float64
	token   float64 // for each token of an answer
	lastOK  time.Time
	last    time.Time
	failed  bool // the last call

	minute int64 // that tally counts
	tally  tally
	run    time.Time // until when the failures of tally.run count
}

// tally is what the rules look at.
type tally struct {
	good, failed uint32 // of this minute's calls
	run          int    // failures, each soon after the one before
}

// add counts an outcome and gives what it comes to. memory is how long a failure
// counts among those that a policy allows.
func (l *local) add(o *Observation, at time.Time, memory time.Duration) tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	second := at.Unix()
	s := &l.slots[uint64(second)%slots]
	if s.second != second {
		*s = slot{second: second}
	}
	s.counts[o.Outcome]++
	l.last = at
	if minute := second / 60; l.minute != minute {
		l.minute, l.tally.good, l.tally.failed = minute, 0, 0
	}
	if l.failed = o.Outcome != OK; l.failed {
		if o.Late && l.tally.good > 0 {
			l.tally.good--
		}
		l.tally.failed++
		if at.After(l.run) {
			l.tally.run = 0
		}
		l.tally.run++
		l.run = at.Add(memory)
	} else {
		l.tally.good++
		l.lastOK = at
		l.sample(o, second/5)
	}
	return l.tally
}

func (l *local) sample(o *Observation, period int64) {
	if o.Latency <= 0 && o.FirstToken <= 0 {
		return
	}
	s := &l.samples[uint64(period)%sampleSlots]
	if s.period != period {
		if l.sampled(period) == 0 { // the old ones are out of date
			l.latency, l.first, l.token = 0, 0, 0
		}
		*s = sampleSlot{period: period}
	}
	s.n++
	if o.Latency > 0 {
		l.latency = smooth(l.latency, float64(o.Latency))
		if o.Tokens > 0 {
			l.token = smooth(l.token, float64(o.Latency)/float64(o.Tokens))
		}
	}
	if o.FirstToken > 0 {
		l.first = smooth(l.first, float64(o.FirstToken))
	}
}

func smooth(was, sample float64) float64 {
	if was == 0 {
		return sample
	}
	return was + smoothing*(sample-was)
}

func (l *local) sampled(period int64) (n uint32) {
	for i := range l.samples {
		if age := period - l.samples[i].period; age >= 0 && age < sampleSlots {
			n += l.samples[i].n
		}
	}
	return n
}

func (l *local) totals(second int64) (t [outcomes]uint32) {
	for i := range l.slots {
		if age := second - l.slots[i].second; age >= 0 && age < slots {
			for o, n := range l.slots[i].counts {
				t[o] += n
			}
		}
	}
	return t
}

// Latency is how long a deployment takes.
type Latency struct {
	Mean       time.Duration // of whole calls, smoothed
	FirstToken time.Duration // of streams, 0: unknown
	PerToken   time.Duration // of whole calls, 0: unknown
	Samples    int           // in the last minute; 0: nothing is known
	Regional   bool          // this node has too few of its own: the region's mean
}

func (l *local) latencyAt(now time.Time) Latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(l.sampled(now.Unix() / 5))
	if n == 0 {
		return Latency{}
	}
	return Latency{Mean: time.Duration(l.latency), FirstToken: time.Duration(l.first), PerToken: time.Duration(l.token), Samples: n}
}

// Summary is what one node has seen of one deployment lately, as the others
// hear it once a second.
type Summary struct {
	ID         ID
	OK         uint32 // in the last 10 s, as all counts
	Limited    uint32
	Server     uint32
	Timeouts   uint32
	Connects   uint32
	Latency    time.Duration
	FirstToken time.Duration
	Samples    uint32        // of latency, in the last minute
	LastOK     time.Duration // ago; negative: none in the last minute
	Bad        bool          // by its own experience: its breaker is open
	Opened     time.Duration // ago, when Bad: counted from its last failed probe
}

func (l *local) summary(id ID, now time.Time) (s Summary, active bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals(now.Unix())
	s = Summary{ID: id, OK: t[OK], Limited: t[RateLimited], Server: t[ServerError], Timeouts: t[Timeout], Connects: t[Connect], LastOK: -1}
	if n := l.sampled(now.Unix() / 5); n > 0 {
		s.Samples, s.Latency, s.FirstToken = n, time.Duration(l.latency), time.Duration(l.first)
	}
	if ago := now.Sub(l.lastOK); ago < latencySpan {
		s.LastOK = max(ago, 0)
	}
	return s, now.Sub(l.last) < latencySpan
}
