package replica

import "github.com/prometheus/client_golang/prometheus"

// figure is one metric.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*observed) float64
}

// observed is what all metrics of one look come from.
type observed struct {
	Stats
	now            float64
	copies, behind int
}

func figures() []figure {
	add := func(kind prometheus.ValueType) func(name, help string, of func(*observed) float64) figure {
		return func(name, help string, of func(*observed) float64) figure {
			return figure{prometheus.NewDesc("tollgate_replica_"+name, help, nil, nil), kind, of}
		}
	}
	gauge, counter := add(prometheus.GaugeValue), add(prometheus.CounterValue)
	flag := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	return []figure{
		gauge("lag_entries", "Finished calls that are neither in this node's copy nor in the database.", func(o *observed) float64 { return float64(o.Lag) }),
		gauge("lag_seconds", "Age of the oldest of them.", func(o *observed) float64 {
			if o.Oldest.IsZero() {
				return 0
			}
			return max(0, o.now-float64(o.Oldest.UnixMilli())/1e3)
		}),
		gauge("healthy", "1 while another node keeps this node's copy and takes what is sent.", func(o *observed) float64 { return flag(o.Peer != "" && o.Fault == nil) }),
		gauge("copies_kept", "Copies of other nodes' ledgers that are here.", func(o *observed) float64 { return float64(o.copies) }),
		gauge("copies_of_lost_nodes", "Those whose nodes were taken out of the cluster.", func(o *observed) float64 { return float64(o.behind) }),
		counter("batches_total", "Messages that the copy took.", func(o *observed) float64 { return float64(o.Batches) }),
		counter("entries_total", "Entries that the copy took.", func(o *observed) float64 { return float64(o.Entries) }),
		counter("bytes_total", "Bytes of entries and of calls in flight that the copy took.", func(o *observed) float64 { return float64(o.Bytes) }),
		counter("faults_total", "Messages that failed and were sent again.", func(o *observed) float64 { return float64(o.Faults) }),
		counter("moves_total", "Times the copy went to another node.", func(o *observed) float64 { return float64(o.Moves) }),
		counter("withheld_total", "Entries that may not be where the copy is.", func(o *observed) float64 { return float64(o.Withheld) }),
		counter("bared_total", "Entries copied without bodies and client metadata, for the same reason.", func(o *observed) float64 { return float64(o.Bared) }),
		counter("unwaited_total", "Calls that were to wait for their copy and did not: it was late.", func(o *observed) float64 { return float64(o.Unwaited) }),
	}
}

type collector struct {
	s       *Sender
	k       *Keeper
	figures []figure
}

// Collector gives the metrics of a node's own copy and of those it keeps.
func Collector(s *Sender, k *Keeper) prometheus.Collector { return &collector{s, k, figures()} }

// Describe names the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		ch <- f.desc
	}
}

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	o := observed{Stats: c.s.Stats(), now: float64(c.s.cfg.Clock.Now().UnixMilli()) / 1e3}
	for _, s := range c.k.States() {
		o.copies++
		if c.k.cfg.Lost(s.Holder) {
			o.behind++
		}
	}
	for _, f := range c.figures {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(&o))
	}
}
