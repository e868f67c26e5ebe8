package call

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// maxSeries bounds how many label combinations are kept: LiteLLM's dashboards
// want the key in the labels, and keys can be many. What comes later is
// counted under the key "other".
const maxSeries = 20_000

// buckets are LiteLLM's latency buckets in seconds.
var latencyBuckets = func() []float64 {
	b := []float64{.005, .00625, .0125, .025, .05, .1, .5}
	for v := 1.0; v <= 10; v += .5 {
		b = append(b, v)
	}
	return append(b, 15, 20, 25, 30, 60, 120, 180, 240, 300)
}()

// Metrics are the model routes' counters under LiteLLM's names and our own.
// Children are resolved once per combination of labels; a request only adds.
type Metrics struct {
	requests, failed, spend, tokens, inTokens, outTokens *prometheus.CounterVec
	deployRequests, deploySuccess, deployFailure         *prometheus.CounterVec
	total, api, ttft, overhead                           *prometheus.HistogramVec
	refusals                                             *prometheus.CounterVec
	unpriced                                             prometheus.Counter
	inFlight                                             prometheus.GaugeFunc

	mu     sync.RWMutex // guards series
	series map[seriesKey]*series
}

type seriesKey struct {
	key, group, deployment string
	status                 int
}

type series struct {
	requests, spend, tokens, in, out, deployRequests, deploySuccess prometheus.Counter
	total, api, ttft, overhead                                      prometheus.Observer
}

// NewMetrics registers the model routes' metrics. Names ending in _total carry
// the suffix that LiteLLM's Python client adds.
func NewMetrics(reg prometheus.Registerer, inFlight func() int64) *Metrics {
	k := []string{"hashed_api_key", "api_key_alias", "team", "team_alias"}
	d := []string{"litellm_model_name", "model_id", "api_base", "api_provider"}
	with := func(base []string, more ...string) []string { return append(append([]string{}, base...), more...) }
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels []string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets}, labels)
		reg.MustRegister(v)
		return v
	}
	m := &Metrics{series: make(map[seriesKey]*series)}
	m.requests = counter("litellm_proxy_total_requests_metric_total", "Requests to the gateway.", with(k, "end_user", "requested_model", "user", "status_code", "user_email", "route", "model_id"))
	m.failed = counter("litellm_proxy_failed_requests_metric_total", "Requests that the gateway could not answer.", with(k, "end_user", "requested_model", "user", "user_email", "exception_status", "exception_class", "route", "model_id"))
	caller := with(k, "end_user", "model", "user", "user_email", "requested_model", "model_id")
	m.spend = counter("litellm_spend_metric_total", "Spend in USD.", caller)
	m.tokens = counter("litellm_total_tokens_metric_total", "Input and output tokens.", caller)
	m.inTokens = counter("litellm_input_tokens_metric_total", "Input tokens.", caller)
	m.outTokens = counter("litellm_output_tokens_metric_total", "Output tokens.", caller)
	dep := with(d, append(k, "requested_model")...)
	m.deployRequests = counter("litellm_deployment_total_requests_total", "Calls to a deployment.", dep)
	m.deploySuccess = counter("litellm_deployment_success_responses_total", "Answers of a deployment.", dep)
	m.deployFailure = counter("litellm_deployment_failure_responses_total", "Failures of a deployment.", with(dep, "exception_status", "exception_class"))
	lat := with(k, "end_user", "requested_model", "user", "model", "model_id")
	m.total = histogram("litellm_request_total_latency_metric", "Seconds from request to last byte.", lat)
	m.api = histogram("litellm_llm_api_latency_metric", "Seconds that the provider took.", lat)
	m.ttft = histogram("litellm_llm_api_time_to_first_token_metric", "Seconds to a stream's first event.", lat)
	m.overhead = histogram("litellm_overhead_latency_metric", "Seconds added by the gateway.", []string{"model_group", "api_provider", "api_base", "litellm_model_name", "hashed_api_key", "api_key_alias", "model_id"})
	m.refusals = counter("tollgate_refusals_total", "Calls refused before a provider was asked.", []string{"class", "status"})
	m.unpriced = prometheus.NewCounter(prometheus.CounterOpts{Name: "tollgate_unpriced_calls_total", Help: "Answered calls whose model has no price."})
	m.inFlight = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "litellm_in_flight_requests", Help: "Model calls between request and last byte."}, func() float64 { return float64(inFlight()) })
	reg.MustRegister(m.unpriced, m.inFlight)
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
	s := m.of(c, status)
	s.requests.Inc()
	if c.served.Deployment != nil {
		s.deployRequests.Inc()
	}
	if o.fault != nil {
		m.failure(c, o.fault)
		return
	}
	if c.served.Deployment != nil {
		s.deploySuccess.Inc()
	}
	s.spend.Add(c.cost.Total.USD())
	s.tokens.Add(float64(o.usage.Total()))
	s.in.Add(float64(o.usage.Prompt()))
	s.out.Add(float64(o.usage.OutTotal))
	total := c.endAt.Sub(c.start)
	s.total.Observe(total.Seconds())
	if !c.cost.Priced {
		m.unpriced.Inc()
	}
	if c.exchange == nil {
		return
	}
	wait := c.firstAt.Sub(c.sentAt)
	if c.req.stream {
		s.ttft.Observe(wait.Seconds())
		return
	}
	s.api.Observe(wait.Seconds())
	s.overhead.Observe(max(total-wait, time.Duration(0)).Seconds())
}

func (m *Metrics) failure(c *call, f *provider.Error) {
	l := c.labels()
	status := strconv.Itoa(f.Status)
	m.failed.WithLabelValues(l.key, l.alias, l.team, l.teamAlias, "None", l.requested, l.user, "None", status, string(f.Class), c.routeName(), l.modelID).Inc()
	if c.served.Deployment != nil {
		m.deployFailure.WithLabelValues(l.model, l.modelID, l.base, l.provider, l.key, l.alias, l.team, l.teamAlias, l.requested, status, string(f.Class)).Inc()
	}
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
	requested := "None"
	if len(c.plan.Candidates) > 0 {
		requested = c.req.model
	}
	l := c.labels()
	m.failed.WithLabelValues(l.key, l.alias, l.team, l.teamAlias, "None", requested, l.user, "None", strconv.Itoa(ref.Status), none(class), c.routeName(), "None").Inc()
	m.requests.WithLabelValues(l.key, l.alias, l.team, l.teamAlias, "None", requested, l.user, strconv.Itoa(ref.Status), "None", c.routeName(), "None").Inc()
}

// labels of one call.
type labels struct {
	key, alias, team, teamAlias, user, requested, model, modelID, base, provider string
}

func (c *call) labels() labels {
	l := labels{key: none(c.principal.KeyHash()), alias: "None", team: "None", teamAlias: "None", user: none(c.principal.UserID()),
		requested: c.req.model, model: "None", modelID: "None", base: "None", provider: "None"}
	if k := c.principal.Key; k != nil {
		l.alias, l.team = none(k.Alias), none(k.TeamID)
	}
	if t := c.principal.Team; t != nil {
		l.teamAlias = none(t.Alias)
	}
	if d := c.served.Deployment; d != nil {
		l.model, l.modelID, l.base, l.provider = d.Model, d.ID, none(d.APIBase), d.Provider
	}
	return l
}

func (m *Metrics) of(c *call, status int) *series {
	id := seriesKey{key: c.principal.KeyHash(), group: c.req.model, status: status}
	if d := c.served.Deployment; d != nil {
		id.deployment = d.ID
	}
	m.mu.RLock()
	s := m.series[id]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	return m.make(id, c.labels())
}

func (m *Metrics) make(id seriesKey, l labels) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.series[id]; s != nil {
		return s
	}
	if len(m.series) >= maxSeries && id.key != "other" {
		id.key, l.key, l.alias, l.team, l.teamAlias, l.user = "other", "other", "other", "other", "other", "other"
		if s := m.series[id]; s != nil {
			return s
		}
	}
	lat := []string{l.key, l.alias, l.team, l.teamAlias, "None", l.requested, l.user, l.model, l.modelID}
	caller := []string{l.key, l.alias, l.team, l.teamAlias, "None", l.model, l.user, "None", l.requested, l.modelID}
	dep := []string{l.model, l.modelID, l.base, l.provider, l.key, l.alias, l.team, l.teamAlias, l.requested}
	s := &series{
		requests:       m.requests.WithLabelValues(l.key, l.alias, l.team, l.teamAlias, "None", l.requested, l.user, strconv.Itoa(id.status), "None", "None", l.modelID),
		spend:          m.spend.WithLabelValues(caller...),
		tokens:         m.tokens.WithLabelValues(caller...),
		in:             m.inTokens.WithLabelValues(caller...),
		out:            m.outTokens.WithLabelValues(caller...),
		deployRequests: m.deployRequests.WithLabelValues(dep...),
		deploySuccess:  m.deploySuccess.WithLabelValues(dep...),
		total:          m.total.WithLabelValues(lat...),
		api:            m.api.WithLabelValues(lat...),
		ttft:           m.ttft.WithLabelValues(lat...),
		overhead:       m.overhead.WithLabelValues(l.requested, l.provider, l.base, l.model, l.key, l.alias, l.modelID),
	}
	m.series[id] = s
	return s
}
