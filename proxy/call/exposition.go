package call

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// label is one of the labels that LiteLLM's metrics have.
type label struct {
	name string
	of   func(*sample) *string
}

var absent = "None"

// labelsOf gives the labels named, sorted as the exposition wants them.
func labelsOf(names ...string) []label {
	slices.Sort(names)
	out := make([]label, len(names))
	for i, n := range names {
		out[i] = label{n, labelValue(n)}
	}
	return out
}

func labelValue(name string) func(*sample) *string {
	switch name {
	case "hashed_api_key":
		return func(s *sample) *string { return &s.series.key }
	case "api_key_alias":
		return func(s *sample) *string { return &s.series.alias }
	case "team":
		return func(s *sample) *string { return &s.series.team }
	case "team_alias":
		return func(s *sample) *string { return &s.series.teamAlias }
	case "user":
		return func(s *sample) *string { return &s.series.user }
	case "requested_model", "model_group":
		return func(s *sample) *string { return &s.series.requested }
	case "model", "litellm_model_name":
		return func(s *sample) *string { return &s.series.place.model }
	case "model_id":
		return func(s *sample) *string { return &s.series.deployment }
	case "api_base":
		return func(s *sample) *string { return &s.series.place.base }
	case "api_provider":
		return func(s *sample) *string { return &s.series.place.provider }
	case "status_code", "exception_status":
		return func(s *sample) *string { return &s.status }
	case "exception_class":
		return func(s *sample) *string { return &s.class }
	case "fallback_model":
		return func(s *sample) *string { return &s.fallback }
	case "route":
		return func(s *sample) *string { return &s.route }
	}
	return func(*sample) *string { return &absent } // end users and e-mail addresses are not told
}

// family is one metric and where its values stand in a series: as a number, by
// how calls ended, or as latencies.
type family struct {
	desc      *prometheus.Desc
	labels    []label
	number    func(*series) float64
	tallies   func(*series) tallies
	fallbacks func(*series) fallbacks
	latencies func(*series) *latencies
	sparse    bool // shown only where there is something to count
}

// families are LiteLLM's metrics of calls. Names ending in _total carry the
// suffix that LiteLLM's Python client adds.
func families() []*family {
	caller := []string{"hashed_api_key", "api_key_alias", "team", "team_alias"}
	spender := append([]string{"end_user", "model", "user", "user_email", "requested_model", "model_id"}, caller...)
	deployment := append([]string{"litellm_model_name", "model_id", "api_base", "api_provider", "requested_model"}, caller...)
	latency := append([]string{"end_user", "requested_model", "user", "model", "model_id"}, caller...)
	out := []*family{}
	add := func(name, help string, f family, labels ...string) {
		f.labels = labelsOf(slices.Clone(labels)...)
		names := make([]string, len(f.labels))
		for i := range f.labels {
			names[i] = f.labels[i].name
		}
		f.desc = prometheus.NewDesc(name, help, names, nil)
		out = append(out, &f)
	}
	number := func(f func(*series) float64) family { return family{number: f} }
	ended := func(f func(*series) tallies) family { return family{tallies: f} }
	timed := func(f func(*series) *latencies) family { return family{latencies: f} }

	add("litellm_proxy_total_requests_metric_total", "Requests to the gateway.", ended(func(s *series) tallies { return s.requests }),
		append([]string{"end_user", "requested_model", "user", "status_code", "user_email", "route", "model_id"}, caller...)...)
	add("litellm_proxy_failed_requests_metric_total", "Requests that the gateway could not answer.", ended(func(s *series) tallies { return s.failed }),
		append([]string{"end_user", "requested_model", "user", "user_email", "exception_status", "exception_class", "route", "model_id"}, caller...)...)
	add("litellm_spend_metric_total", "Spend in USD.", number(func(s *series) float64 { return s.spend.USD() }), spender...)
	add("litellm_total_tokens_metric_total", "Input and output tokens.", number(func(s *series) float64 { return float64(s.tokens) }), spender...)
	add("litellm_input_tokens_metric_total", "Input tokens.", number(func(s *series) float64 { return float64(s.in) }), spender...)
	add("litellm_output_tokens_metric_total", "Output tokens.", number(func(s *series) float64 { return float64(s.out) }), spender...)
	add("litellm_cache_hits_metric_total", "Calls answered with a kept answer.", family{number: func(s *series) float64 { return float64(s.cacheHits) }, sparse: true}, spender...)
	add("litellm_cache_misses_metric_total", "Calls for which no answer was kept.", family{number: func(s *series) float64 { return float64(s.cacheMisses) }, sparse: true}, spender...)
	add("litellm_cached_tokens_metric_total", "Tokens of kept answers.", family{number: func(s *series) float64 { return float64(s.cachedTokens) }, sparse: true}, spender...)
	add("litellm_deployment_total_requests_total", "Calls to a deployment.", number(func(s *series) float64 { return float64(s.deployRequests) }), deployment...)
	add("litellm_deployment_success_responses_total", "Answers of a deployment.", number(func(s *series) float64 { return float64(s.deploySuccess) }), deployment...)
	add("litellm_deployment_failure_responses_total", "Failures of a deployment.", ended(func(s *series) tallies { return s.deployFailed }),
		append([]string{"exception_status", "exception_class"}, deployment...)...)
	fallback := append([]string{"requested_model", "fallback_model", "exception_status", "exception_class", "model_id"}, caller...)
	fell := func(answered bool) family {
		return family{fallbacks: func(s *series) fallbacks { return s.fallbacks.that(answered) }}
	}
	add("litellm_deployment_successful_fallbacks_total", "Fallbacks that answered.", fell(true), fallback...)
	add("litellm_deployment_failed_fallbacks_total", "Fallbacks that failed too.", fell(false), fallback...)
	add("litellm_request_total_latency_metric", "Seconds from request to last byte.", timed(func(s *series) *latencies { return &s.total }), latency...)
	add("litellm_llm_api_latency_metric", "Seconds that the provider took.", timed(func(s *series) *latencies { return &s.api }), latency...)
	add("litellm_llm_api_time_to_first_token_metric", "Seconds to a stream's first event.", timed(func(s *series) *latencies { return &s.ttft }), latency...)
	add("litellm_overhead_latency_metric", "Seconds added by the gateway.", timed(func(s *series) *latencies { return &s.overhead }),
		"model_group", "api_provider", "api_base", "litellm_model_name", "hashed_api_key", "api_key_alias", "model_id")
	return out
}

// Describe implements prometheus.Collector.
func (t *seriesTable) Describe(out chan<- *prometheus.Desc) {
	for _, f := range t.families {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector. A histogram that nothing was counted
// in is left out: it would be forty lines a key that say nothing.
func (t *seriesTable) Collect(out chan<- prometheus.Metric) {
	var found []*sample
	for _, s := range t.all() {
		found = s.samples(t.families, found[:0])
		for _, m := range found {
			out <- m
		}
	}
}

// samples are what a series shows.
func (s *series) samples(families []*family, out []*sample) []*sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range families {
		switch {
		case f.tallies != nil:
			for _, t := range f.tallies(s) {
				out = append(out, &sample{family: f, series: s, status: strconv.Itoa(t.status), class: t.class, route: t.route, value: float64(t.n)})
			}
		case f.fallbacks != nil:
			for _, t := range f.fallbacks(s) {
				out = append(out, &sample{family: f, series: s, status: strconv.Itoa(t.status), class: t.class, fallback: t.to, value: float64(t.n)})
			}
		case !s.served:
		case f.number != nil && f.sparse && f.number(s) == 0:
		case f.number != nil:
			out = append(out, &sample{family: f, series: s, value: f.number(s)})
		default:
			if l := f.latencies(s); l.hit != nil {
				out = append(out, &sample{family: f, series: s, value: l.sum, hit: slices.Clone(l.hit)})
			}
		}
	}
	return out
}

// sample is one metric of one series as it was when it was asked for.
type sample struct {
	*family
	series               *series
	status, class, route string
	fallback             string  // the model that stood in
	value                float64 // the sum, of latencies
	hit                  []bucket
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(m *dto.Metric) error {
	pairs := make([]dto.LabelPair, len(s.labels))
	m.Label = make([]*dto.LabelPair, len(s.labels))
	for i := range s.labels {
		l := &s.labels[i]
		pairs[i].Name, pairs[i].Value = &l.name, l.of(s)
		m.Label[i] = &pairs[i]
	}
	if s.latencies == nil {
		m.Counter = &dto.Counter{Value: &s.value}
		return nil
	}
	var each [64]uint64
	for _, b := range s.hit {
		each[b.at] = b.n
	}
	var count uint64
	buckets := make([]dto.Bucket, len(latencyBuckets))
	counts := make([]uint64, len(latencyBuckets))
	h := &dto.Histogram{SampleSum: &s.value, Bucket: make([]*dto.Bucket, len(latencyBuckets))}
	for i := range latencyBuckets {
		count += each[i]
		counts[i] = count
		buckets[i].CumulativeCount, buckets[i].UpperBound = &counts[i], &latencyBuckets[i]
		h.Bucket[i] = &buckets[i]
	}
	count += each[len(latencyBuckets)]
	h.SampleCount = &count
	m.Histogram = h
	return nil
}
