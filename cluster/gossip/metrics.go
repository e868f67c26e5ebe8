package gossip

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of a pool.
type metrics struct {
	messages *prometheus.CounterVec
	refusals *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, p *Pool) (*metrics, error) {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_gossip_messages_total",
			Help: "Messages by kind: sent and unsent count each receiver; of what arrives, received ones were taken, repeated ones had been seen, dropped ones found their handler busy.",
		}, []string{"kind", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_gossip_refused_total",
			Help: "Packets and streams that were refused, by reason.",
		}, []string{"reason"}),
	}
	if reg == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{m.messages, m.refusals, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tollgate_gossip_relay_queue",
		Help: "Messages waiting to be passed on.",
	}, func() float64 { return float64(p.relay.NumQueued()) })}
	for _, s := range []State{Alive, Dead, Left} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "tollgate_gossip_members",
			Help:        "Nodes by how they seem to this one, itself included.",
			ConstLabels: prometheus.Labels{"state": string(s)},
		}, func() float64 {
			n := 0
			for _, m := range p.Members() {
				if m.State == s {
					n++
				}
			}
			return float64(n)
		}))
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register gossip metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) message(kind Kind, outcome string) {
	label := kind.String()
	if len(label) > 5 && label[:5] == "kind_" {
		label = "other" // of newer nodes: 256 labels are too many
	}
	m.messages.WithLabelValues(label, outcome).Inc()
}

func (m *metrics) refused(reason string) { m.refusals.WithLabelValues(reason).Inc() }
