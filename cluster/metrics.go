package cluster

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// counts is what a node measures of itself. A nil one counts nothing.
type counts struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector
	forwards   *prometheus.CounterVec
	asks       *prometheus.CounterVec
}

// measure registers the node's figures; without a registerer there are none.
func (n *Node) measure(r prometheus.Registerer) (*counts, error) {
	if r == nil {
		return nil, nil
	}
	c := &counts{
		registerer: r,
		forwards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_cluster_forwards_total", Help: "Commands sent to the leader, by outcome."}, []string{"outcome"}),
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_cluster_catchup_asks_total", Help: "Questions to the leader before calls were refused, by outcome. One serves many calls."}, []string{"outcome"}),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	state := func(name string) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tollgate_raft_state", Help: "1 for the state that this node's raft is in.", ConstLabels: prometheus.Labels{"state": name},
		}, func() float64 { return flag(n.stateName() == name) })
	}
	all := []prometheus.Collector{
		c.forwards, c.asks, state("leader"), state("follower"), state("candidate"),
		gauge("tollgate_raft_term", "Raft's term.", func() float64 { return float64(n.raft.CurrentTerm()) }),
		gauge("tollgate_raft_applied_index", "Newest state index that readers see here.", func() float64 { return float64(n.Applied()) }),
		gauge("tollgate_raft_leader", "1 when this node leads.", func() float64 { return flag(n.leads()) }),
		gauge("tollgate_raft_leader_age_seconds", "Since this node has heard of a leader; 0 on the leader.", func() float64 { return n.Staleness().Seconds() }),
		gauge("tollgate_cluster_members", "Nodes that belong to the cluster.", func() float64 { return float64(n.Membership().Len()) }),
		gauge("tollgate_cluster_feature_level", "Feature level that the cluster has taken.", func() float64 { return float64(n.Feature()) }),
	}
	for _, m := range all {
		if err := r.Register(m); err != nil {
			c.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		c.registered = append(c.registered, m)
	}
	return c, nil
}

func (c *counts) unregister() {
	for _, m := range c.registered {
		c.registerer.Unregister(m)
	}
}

func (c *counts) forwarded(err error) {
	if c != nil {
		c.forwards.WithLabelValues(outcome(err)).Inc()
	}
}

func (c *counts) asked(err error) {
	if c != nil {
		c.asks.WithLabelValues(outcome(err)).Inc()
	}
}

// outcome is an error as a label: few values, and which they are says what is
// known.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return failedCode
}

func flag(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
