package once

import "github.com/prometheus/client_golang/prometheus"

// Collector shows the figures of a node's desk and of the claims.
func Collector(d *Desk, c *Claims) prometheus.Collector {
	return &collector{desk: d, claims: c,
		held: prometheus.NewDesc("tollgate_idempotency_keys", "Idempotency keys that the cluster remembers.", nil, nil),
		seen: prometheus.NewDesc("tollgate_idempotency_calls_total", "Calls with an Idempotency-Key on this node, by what became of them: claimed (the first), repeated (given the first one's answer), unknown (the answer is out of reach), released (the first had no answer).", []string{"outcome"}, nil),
		wait: prometheus.NewDesc("tollgate_idempotency_waits_total", "Calls that looked for the end of the first one with their key.", nil, nil),
	}
}

type collector struct {
	desk             *Desk
	claims           *Claims
	held, seen, wait *prometheus.Desc
}

// Describe names the figures.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.held; ch <- c.seen; ch <- c.wait }

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	n := &c.desk.counts
	ch <- prometheus.MustNewConstMetric(c.held, prometheus.GaugeValue, float64(c.claims.Len()))
	ch <- prometheus.MustNewConstMetric(c.wait, prometheus.CounterValue, float64(n.waited.Load()))
	for name, v := range map[string]uint64{"claimed": n.claimed.Load(), "repeated": n.repeated.Load(), "unknown": n.unknown.Load(), "released": n.released.Load()} {
		ch <- prometheus.MustNewConstMetric(c.seen, prometheus.CounterValue, float64(v), name)
	}
}
