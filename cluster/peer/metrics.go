package peer

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connections *prometheus.GaugeVec
	refusals    *prometheus.CounterVec
	dropped     prometheus.Counter
	calls       *prometheus.HistogramVec

	methods sync.Map // method to prometheus.Observer: a Vec's own look-up hashes
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tollgate_peer_connections", Help: "Open connections between nodes, by kind and who dialled.",
		}, []string{"kind", "direction"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_peer_refusals_total", Help: "Connections refused on the cluster port, by reason.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tollgate_gossip_packets_dropped_total", Help: "Gossip packets dropped because gossip did not keep up.",
		}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tollgate_peer_call_seconds", Help: "Time of calls to other nodes, by method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.refusals, m.dropped, m.calls} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) call(method string) prometheus.Observer {
	if o, ok := m.methods.Load(method); ok {
		return o.(prometheus.Observer)
	}
	o := m.calls.WithLabelValues(method)
	m.methods.Store(method, o)
	return o
}
