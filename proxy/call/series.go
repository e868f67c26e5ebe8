package call

import (
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/config/state"
	"tollgate/config/unit"
)

// maxSeries bounds how many combinations of key, model and deployment are kept:
// LiteLLM's dashboards want the key in the labels, and keys can be many. What
// comes later is counted under the key "other".
const maxSeries = 20_000

// maxOthers bounds the combinations under the key "other". Where a wildcard
// serves any name, callers can ask for endlessly many: later ones are counted
// as the model "other".
const maxOthers = 1000

const other = "other"

// latencyBuckets are LiteLLM's latency buckets in seconds.
var latencyBuckets = func() []float64 {
	b := []float64{.005, .00625, .0125, .025, .05, .1, .5}
	for v := 1.0; v <= 10; v += .5 {
		b = append(b, v)
	}
	return append(b, 15, 20, 25, 30, 60, 120, 180, 240, 300)
}()

// seriesID is told apart by the texts of the labels, so that two series can
// never show the same ones.
type seriesID struct {
	key, requested, deployment string
}

// series is what is counted of one key, model and deployment.
type series struct {
	seriesID
	alias, team, teamAlias, user string
	place                        *place

	mu       sync.Mutex // guards what follows
	served   bool       // a call got as far as a provider; otherwise only refusals are told
	requests tallies
	failed   tallies

	spend                         unit.Money
	tokens, in, out               int64
	deployRequests, deploySuccess int64
	cacheHits, cacheMisses        int64
	cachedTokens                  int64
	deployFailed                  tallies
	fallbacks                     fallbacks
	total, api, ttft, overhead    latencies
}

// place is what a deployment's labels say, shared by all keys.
type place struct {
	model, base, provider string
}

// tally counts calls that ended one way. A series has very few of them.
type tally struct {
	status       int
	class, route string
	n            int64
}

type tallies []tally

func (t *tallies) add(one tally) {
	for i := range *t {
		if h := &(*t)[i]; h.status == one.status && h.class == one.class && h.route == one.route {
			h.n++
			return
		}
	}
	one.n = 1
	*t = append(slices.Grow(*t, 1), one)
}

// latencies is a histogram over latencyBuckets that holds only the buckets that
// were hit: of a key's calls nearly all fall into two or three.
type latencies struct {
	sum float64
	hit []bucket
}

type bucket struct {
	at uint8 // index in latencyBuckets; their number: above all of them
	n  uint64
}

func (l *latencies) observe(d time.Duration) {
	v := d.Seconds()
	l.sum += v
	i, _ := slices.BinarySearch(latencyBuckets, v)
	for h := range l.hit {
		if l.hit[h].at == uint8(i) {
			l.hit[h].n++
			return
		}
	}
	l.hit = append(slices.Grow(l.hit, 1), bucket{uint8(i), 1})
}

// seriesTable finds the series of calls. A call looks up once.
type seriesTable struct {
	families []*family
	most     int // series of keys

	mu     sync.RWMutex // guards what follows, not what series count
	series map[seriesID]*series
	places map[string]*place // by deployment
	others int
}

func newSeriesTable() *seriesTable {
	return &seriesTable{families: families(), most: maxSeries, series: map[seriesID]*series{}, places: map[string]*place{}}
}

// text is a label's value. One that is not UTF-8 would take away the whole page.
func text(s string) string { return none(strings.ToValidUTF8(s, "\uFFFD")) }

// of is the series of a call for a model as requested, which is "" when it must
// not be named, and a deployment; nil: none was asked.
func (t *seriesTable) of(c *call, requested string, d *state.Deployment) *series {
	id := seriesID{text(c.principal.KeyHash()), text(requested), "None"}
	if d != nil {
		id.deployment = text(d.ID)
	}
	t.mu.RLock()
	s := t.find(id)
	t.mu.RUnlock()
	if s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.find(id); s != nil {
		return s
	}
	return t.make(c, id, d)
}

// find is called with mu held.
func (t *seriesTable) find(id seriesID) *series {
	if s := t.series[id]; s != nil || !t.full() {
		return s
	}
	id.key = other
	if s := t.series[id]; s != nil || t.others < maxOthers {
		return s
	}
	id.requested = other
	return t.series[id]
}

// full reports whether keys get no series of their own any more.
func (t *seriesTable) full() bool { return len(t.series)-t.others >= t.most }

// make is called with mu held.
func (t *seriesTable) make(c *call, id seriesID, d *state.Deployment) *series {
	s := &series{seriesID: id, alias: "None", team: "None", teamAlias: "None", user: text(c.principal.UserID())}
	if k := c.principal.Key; k != nil {
		s.alias, s.team = text(k.Alias), text(k.TeamID)
	}
	if team := c.principal.Team; team != nil {
		s.teamAlias = text(team.Alias)
	}
	if t.full() {
		s.key, s.alias, s.team, s.teamAlias, s.user = other, other, other, other, other
		if t.others >= maxOthers {
			s.requested = other
		}
		t.others++
	}
	s.requested = strings.Clone(s.requested) // it may lie in the request's body
	s.place = &nowhere
	if d != nil {
		s.place = t.placeOf(d)
	}
	t.series[s.seriesID] = s
	return s
}

var nowhere = place{"None", "None", "None"}

// placeOf is called with mu held.
func (t *seriesTable) placeOf(d *state.Deployment) *place {
	p := place{text(d.Model), text(d.APIBase), text(d.Provider)}
	if have := t.places[d.ID]; have != nil && *have == p {
		return have
	}
	t.places[d.ID] = &p
	return &p
}

// all are the series at this moment.
func (t *seriesTable) all() []*series {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*series, 0, len(t.series))
	for _, s := range t.series {
		out = append(out, s)
	}
	return out
}
