package run

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tollgate/ledger/store"
)

// registerMetrics shows what the rooms below the proxy count. They count for
// themselves and know no registry.
func (n *node) registerMetrics() {
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, f func() float64) {
		n.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f))
	}
	gauge := func(name, help string, f func() float64) {
		n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	stat := func(f func(s *store.Stats) float64) func() float64 {
		return func() float64 {
			s := n.ledger.Stats()
			return f(&s)
		}
	}
	counter("tollgate_ledger_settled_total", "Calls booked.", stat(func(s *store.Stats) float64 { return float64(s.Settled) }))
	counter("tollgate_ledger_commits_total", "Commits that booked them; several calls share one.", stat(func(s *store.Stats) float64 { return float64(s.Batches) }))
	counter("tollgate_ledger_duplicates_total", "Settlements of calls that were booked already.", stat(func(s *store.Stats) float64 { return float64(s.Duplicates) }))
	counter("tollgate_ledger_syncs_total", "Syncs of the log to disk.", stat(func(s *store.Stats) float64 { return float64(s.Syncs) }))
	counter("tollgate_ledger_disk_full_total", "Writes that found the disk full.", stat(func(s *store.Stats) float64 { return float64(s.DiskFull) }))
	gauge("tollgate_ledger_intents_open", "Calls that are charged at their maximum if the process dies now.", stat(func(s *store.Stats) float64 { return float64(s.Open) }))
	gauge("tollgate_ledger_size_bytes", "Size of the ledger on disk.", stat(func(s *store.Stats) float64 { return float64(s.Bytes) }))
	gauge("tollgate_ledger_limit_bytes", "Size at which new calls are refused.", stat(func(s *store.Stats) float64 { return float64(s.MaxBytes) }))
	gauge("tollgate_ledger_healthy", "1 when this node can book calls.", func() float64 { return flag(n.ledger.Healthy() == nil) })
	counter("tollgate_budget_overage_usd_total", "What calls have cost above what they had reserved.", func() float64 { return n.account.Overage().USD() })
	gauge("tollgate_budget_reserved_usd", "What calls in flight hold, summed over the budgets that each is charged to.", func() float64 { return n.account.InFlight().USD() })
	gauge("tollgate_keys", "Virtual keys in the state.", func() float64 { return float64(n.store.State().Keys.Len()) })
}

func flag(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
