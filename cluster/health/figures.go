package health

import "time"

// Usage is what this node has lately asked of a deployment.
type Usage struct {
	Deployment string
	Minute     time.Time // whose beginning it is that the counts are since
	Requests   int64
	Tokens     int64
	InFlight   int64
}

// Work is what several nodes ask of a deployment at present.
type Work struct {
	Requests, Tokens int64 // this minute
	InFlight         int64
}

// Figures is what one node asks of one deployment and how fast it answers, as
// the others hear it once a second.
type Figures struct {
	ID       ID
	PerToken time.Duration // of whole calls; 0: unknown
	Samples  uint32        // of latency, in the last minute
	Requests uint64        // since Age ago, as Tokens
	Tokens   uint64
	InFlight uint64
	Age      time.Duration
}

// figure is what another node last said.
type figure struct {
	Figures
	region string
	at     time.Time
	inc    uint32
	seq    uint64
}

// loadMinute is how long counts of a minute mean anything: limits of
// deployments are by the minute.
const loadMinute = time.Minute

// UsageFrom has each what this node asks of deployments told to the others. each
// must not block.
func (v *View) UsageFrom(each func(yield func(Usage) bool)) { v.usage.Store(&each) }

// Figures is what this node has to tell of its work and its speed.
func (v *View) Figures() []Figures {
	now := v.clock.Now()
	var out []Figures
	at := make(map[ID]int)
	of := func(id ID) *Figures {
		i, known := at[id]
		if !known {
			i = len(out)
			at[id] = i
			out = append(out, Figures{ID: id})
		}
		return &out[i]
	}
	if each := v.usage.Load(); each != nil {
		(*each)(func(u Usage) bool {
			age := max(now.Sub(u.Minute), 0)
			if age >= loadMinute {
				u.Requests, u.Tokens = 0, 0
			}
			if u.Requests > 0 || u.Tokens > 0 || u.InFlight > 0 {
				f := of(deploymentID(u.Deployment))
				f.Requests, f.Tokens, f.InFlight, f.Age = uint64(max(u.Requests, 0)), uint64(max(u.Tokens, 0)), uint64(max(u.InFlight, 0)), min(age, loadMinute)
			}
			return true
		})
	}
	for i := range v.locals {
		m := v.locals[i].Load()
		if m == nil {
			continue
		}
		for id, l := range *m {
			if lat := l.latencyAt(now); lat.PerToken > 0 {
				f := of(id)
				f.PerToken, f.Samples = lat.PerToken, uint32(lat.Samples)
			}
		}
	}
	return out
}

// MergeFigures takes in another node's figures, the newest of each deployment.
func (v *View) MergeFigures(node, region string, inc uint32, seq uint64, figures []Figures) {
	if node == v.cfg.Node {
		return
	}
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range figures {
		nodes := v.figures[f.ID]
		if nodes == nil {
			if len(v.figures) >= maxCools {
				continue // more than there are deployments
			}
			nodes = make(map[string]*figure)
			v.figures[f.ID] = nodes
		}
		if old := nodes[node]; old != nil && !later(inc, seq, old.inc, old.seq) {
			continue
		}
		nodes[node] = &figure{Figures: f, region: region, at: now, inc: inc, seq: seq}
	}
}

func (v *View) dropFigures(now time.Time) {
	for id, nodes := range v.figures {
		for node, f := range nodes {
			if now.Sub(f.at) > summaryLife {
				delete(nodes, node)
			}
		}
		if len(nodes) == 0 {
			delete(v.figures, id)
		}
	}
}

// sumOthers is what the other nodes ask of deployments.
func (v *View) sumOthers(now time.Time) map[ID]Work {
	if len(v.figures) == 0 {
		return nil
	}
	out := make(map[ID]Work, len(v.figures))
	for id, nodes := range v.figures {
		var w Work
		for _, f := range nodes {
			since := now.Sub(f.at)
			if since > summaryLife {
				continue
			}
			w.InFlight += int64(f.InFlight)
			if f.Age+since < loadMinute {
				w.Requests += int64(f.Requests)
				w.Tokens += int64(f.Tokens)
			}
		}
		if w != (Work{}) {
			out[id] = w
		}
	}
	return out
}

// Others is what the other nodes ask of a deployment, as of a second ago.
func (v *View) Others(deployment string) Work {
	others := v.snap.Load().others
	if len(others) == 0 {
		return Work{}
	}
	return others[deploymentID(deployment)]
}

// Latency is how long a deployment takes: by this node's own experience when it
// has enough, else by the region's.
func (v *View) Latency(deployment string) Latency {
	id := deploymentID(deployment)
	var own Latency
	if l := v.lookup(id); l != nil {
		own = l.latencyAt(v.clock.Now())
	}
	if own.Samples >= enoughSamples {
		return own
	}
	if regional, known := v.snap.Load().regional[id]; known {
		return regional
	}
	return own
}

// mean is a mean of durations, each with the number of its samples.
type mean struct{ sum, n float64 }

func (m *mean) add(d time.Duration, samples float64) {
	if d > 0 && samples > 0 {
		m.sum += float64(d) * samples
		m.n += samples
	}
}

func (m *mean) value() time.Duration {
	if m.n == 0 {
		return 0
	}
	return time.Duration(m.sum / m.n)
}

// regionalLatencies are the means over the nodes of the region, each with its
// number of samples.
func (v *View) regionalLatencies(now time.Time) map[ID]Latency {
	out := make(map[ID]Latency, len(v.remotes))
	for id, nodes := range v.remotes {
		var whole, first, token mean
		samples := 0
		for _, r := range nodes {
			if r.region == v.cfg.Region && now.Sub(r.at) <= summaryLife && r.Samples > 0 {
				whole.add(r.Latency, float64(r.Samples))
				first.add(r.FirstToken, float64(r.Samples))
				samples += int(r.Samples)
			}
		}
		if samples == 0 {
			continue
		}
		for _, f := range v.figures[id] {
			if f.region == v.cfg.Region && now.Sub(f.at) <= summaryLife {
				token.add(f.PerToken, float64(f.Samples))
			}
		}
		if l := v.lookup(id); l != nil {
			own := l.latencyAt(now)
			whole.add(own.Mean, float64(own.Samples))
			first.add(own.FirstToken, float64(own.Samples))
			token.add(own.PerToken, float64(own.Samples))
			samples += own.Samples
		}
		out[id] = Latency{Mean: whole.value(), FirstToken: first.value(), PerToken: token.value(), Samples: samples, Regional: true}
	}
	return out
}
