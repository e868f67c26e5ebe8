package call

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/ledger/store"
	"tollgate/proxy/refusal"
)

// Metrics are the model routes' counters under LiteLLM's names and our own.
// What LiteLLM labels with the key is kept by a table of our own: the vectors of
// the Prometheus library take twenty kilobytes and fifty microseconds for a key's
// first call, and keys are many.
type Metrics struct {
	table    *seriesTable
	refusals *prometheus.CounterVec
	retries  *prometheus.CounterVec
	spills   *prometheus.CounterVec
	unpriced prometheus.Counter
}

// NewMetrics registers the model routes' metrics.
func NewMetrics(reg prometheus.Registerer, inFlight func() int64) *Metrics {
	m := &Metrics{table: newSeriesTable()}
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tollgate_refusals_total", Help: "Calls refused before a provider was asked."}, []string{"class", "status"})
	m.retries = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tollgate_retries_total", Help: "Attempts after a call's first, by why they were made and by the error before."}, []string{"reason", "exception_class"})
	m.spills = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tollgate_spill_over_total", Help: "Calls sent to a deployment outside the node's region, by what kept them from one inside."}, []string{"reason"})
	m.unpriced = prometheus.NewCounter(prometheus.CounterOpts{Name: "tollgate_unpriced_calls_total", Help: "Answered calls whose model has no price."})
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "litellm_in_flight_requests", Help: "Model calls between request and last byte."}, func() float64 { return float64(inFlight()) })
	reg.MustRegister(m.table, m.refusals, m.retries, m.spills, m.unpriced, gauge)
	return m
}

// none is what LiteLLM's Python writes for an absent label.
func none(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

func (m *Metrics) observe(c *call, o *outcome) {
	status := 200
	if o.fault != nil {
		status = o.fault.Status
	} else if o.status == store.ClientClosed {
		status = 499
	}
	if len(c.tried) > 0 && (o.fault != nil || !c.straight()) {
		m.attempts(c, o)
	}
	s := m.table.of(c, c.req.model, c.served.Deployment)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = true
	s.requests.add(tally{status: status, route: "None"})
	if f := o.fault; f != nil {
		s.failed.add(tally{status: f.Status, class: string(f.Class), route: c.routeName()})
		return
	}
	if c.served.Deployment != nil && !c.isHit() { // a hit asks nobody
		s.deployRequests++
		s.deploySuccess++
	}
	s.spend = s.spend.Add(c.cost.Total)
	s.tokens += o.usage.Total()
	s.in += o.usage.Prompt()
	s.out += o.usage.OutTotal
	if c.cached != nil && c.cached.hit != nil {
		s.cacheHits++
		s.cachedTokens += o.usage.Total()
	} else if c.cached != nil && c.cached.Read {
		s.cacheMisses++
	}
	total := c.endAt.Sub(c.start)
	s.total.observe(total)
	if !c.cost.Priced {
		m.unpriced.Inc()
	}
	if c.exchange == nil {
		return
	}
	wait := c.firstAt.Sub(c.sentAt)
	if c.req.stream {
		s.ttft.observe(wait)
		return
	}
	s.api.observe(wait)
	s.overhead.observe(max(total-wait, time.Duration(0)))
}

// refused counts a call that no provider saw.
func (m *Metrics) refused(c *call, ref *refusal.Refusal) {
	class := ref.Class
	if class == "" {
		class = ref.Type
	}
	m.refusals.WithLabelValues(class, strconv.Itoa(ref.Status)).Inc()
	if c.principal.KeyHash() == "" {
		return
	}
	// Models that nobody configured are names that strangers chose: no labels.
	requested := ""
	if len(c.plan.Candidates) > 0 {
		requested = c.req.model
	}
	s := m.table.of(c, requested, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed.add(tally{status: ref.Status, class: none(class), route: c.routeName()})
	s.requests.add(tally{status: ref.Status, route: c.routeName()})
}
