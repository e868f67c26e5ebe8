package flush

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type counters struct {
	rows, entries, batches, refused atomic.Uint64
	nanos                           atomic.Int64
	faults                          [16]atomic.Uint64
	cleaned                         atomic.Uint64
	blanked                         atomic.Uint64
}

func (c *counters) fault(class Class) {
	for i, k := range classes {
		if k == class {
			c.faults[i].Add(1)
		}
	}
}

// flushed notes a batch.
func (d *Database) flushed(rows, entries int, start time.Time) {
	now := d.cfg.Clock.Now()
	d.counts.rows.Add(uint64(rows))
	d.counts.entries.Add(uint64(entries))
	d.counts.batches.Add(1)
	d.counts.nanos.Add(int64(now.Sub(start)))
	d.health.mu.Lock()
	d.health.lastFlush = now
	d.health.mu.Unlock()
}

// Stats is what a Database has counted.
type Stats struct {
	Rows, Entries, Batches uint64
	Refused                uint64 // rows that PostgreSQL will never take
	Seconds                float64
	Faults                 map[Class]uint64
	Deleted, Blanked       uint64            // by the clean-up: rows, and bodies of rows
	Connections            int               // open now, upkeep not counted
	Positions              map[string]uint64 // by node
}

// Stats reads the counters; each number is right by itself.
func (d *Database) Stats() Stats {
	c := &d.counts
	s := Stats{
		Rows: c.rows.Load(), Entries: c.entries.Load(), Batches: c.batches.Load(), Refused: c.refused.Load(),
		Seconds: time.Duration(c.nanos.Load()).Seconds(), Faults: map[Class]uint64{}, Deleted: c.cleaned.Load(), Blanked: c.blanked.Load(),
		Connections: int(d.flush.Stat().TotalConns() + d.projection.Stat().TotalConns() + d.queries.Stat().TotalConns()),
		Positions:   map[string]uint64{},
	}
	for i, k := range classes {
		s.Faults[k] = c.faults[i].Load()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for node, sink := range d.sinks {
		s.Positions[node] = sink.last.Load()
	}
	return s
}

// collector shows Stats and Health to Prometheus.
type collector struct {
	d                                                                                   *Database
	healthy, rows, entries, batches, refused, seconds, faults, conns, last, gone, blank *prometheus.Desc
}

// Collector makes what Prometheus reads. How far the flush is behind is told by
// its reader, which knows the ledger.
func (d *Database) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tollgate_pg_"+name, help, labels, nil)
	}
	return &collector{
		d: d, healthy: desc("healthy", "1 when PostgreSQL takes what is written."),
		rows:    desc("flush_rows_total", "Rows of calls written."),
		entries: desc("flush_entries_total", "Finished calls counted in the database."),
		batches: desc("flush_batches_total", "Transactions that wrote them."),
		refused: desc("flush_refused_total", "Rows that PostgreSQL will never take; their spend is counted."),
		seconds: desc("flush_seconds_total", "Time that the transactions took."),
		faults:  desc("errors_total", "Faults of PostgreSQL, by class.", "class"),
		conns:   desc("connections", "Open connections."),
		last:    desc("last_flush_timestamp_seconds", "When a batch was written last."),
		gone:    desc("retention_deleted_rows_total", "Rows that the clean-up deleted."),
		blank:   desc("retention_blanked_rows_total", "Rows whose bodies the clean-up removed."),
	}
}

// Describe names the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.healthy, c.rows, c.entries, c.batches, c.refused, c.seconds, c.faults, c.conns, c.last, c.gone, c.blank} {
		ch <- d
	}
}

// Collect gives their values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, h := c.d.Stats(), c.d.Health()
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	healthy := 0.0
	if h.Healthy {
		healthy = 1
	}
	gauge(c.healthy, healthy)
	counter(c.rows, float64(s.Rows))
	counter(c.entries, float64(s.Entries))
	counter(c.batches, float64(s.Batches))
	counter(c.refused, float64(s.Refused))
	counter(c.seconds, s.Seconds)
	for _, k := range classes {
		counter(c.faults, float64(s.Faults[k]), string(k))
	}
	gauge(c.conns, float64(s.Connections))
	if !h.LastFlush.IsZero() {
		gauge(c.last, float64(h.LastFlush.UnixNano())/1e9)
	}
	counter(c.gone, float64(s.Deleted))
	counter(c.blank, float64(s.Blanked))
}
