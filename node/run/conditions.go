package run

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/cluster/health"
	"tollgate/config/state"
)

// conditions shows how deployments do, under LiteLLM's names. It shows those
// that this node has called lately or that it leaves alone.
type conditions struct{ *upstreamHealth }

// endpoint is what LiteLLM labels a deployment with.
type endpoint struct{ model, id, base, provider string }

func endpointOf(d *state.Deployment) endpoint {
	return endpoint{orNone(d.Model), d.ID, orNone(d.APIBase), orNone(d.Provider)}
}

// orNone is what LiteLLM's Python writes for an absent label.
func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

func (p endpoint) labels(more ...string) []string {
	return append([]string{p.model, p.id, p.base, p.provider}, more...)
}

var (
	endpointLabels = []string{"litellm_model_name", "model_id", "api_base", "api_provider"}
	conditionDesc  = prometheus.NewDesc("litellm_deployment_state", "How a deployment does: 0 well, 1 its last call failed, 2 it rests.", endpointLabels, nil)
	cooledDesc     = prometheus.NewDesc("litellm_deployment_cooled_down_total", "How often a call of this node has made a deployment rest.",
		append(append([]string(nil), endpointLabels...), "exception_status"), nil)
)

// Describe implements prometheus.Collector.
func (c *conditions) Describe(out chan<- *prometheus.Desc) {
	out <- conditionDesc
	out <- cooledDesc
}

// Collect implements prometheus.Collector.
func (c *conditions) Collect(out chan<- prometheus.Metric) {
	if r := c.state.State().Routing; r != nil {
		for _, d := range r.ByID {
			f := c.about(r, d)
			ref := f.ref
			ref.Policy.Never = ref.Policy.Never || r.Config.Router.DisableCooldowns
			if is := c.view.Condition(ref); is != health.Unknown {
				out <- prometheus.MustNewConstMetric(conditionDesc, prometheus.GaugeValue, float64(is), endpointOf(d).labels()...)
			}
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for by, n := range c.cooled {
		out <- prometheus.MustNewConstMetric(cooledDesc, prometheus.CounterValue, float64(n), by.at.labels(strconv.Itoa(by.status))...)
	}
}
