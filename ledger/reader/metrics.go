package reader

import "github.com/prometheus/client_golang/prometheus"

// figure is one metric of a reader.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*Stats, float64) float64 // of the stats and the time now
}

func newFigure(name, help string, kind prometheus.ValueType, of func(s *Stats, now float64) float64) figure {
	return figure{prometheus.NewDesc("tollgate_reader_"+name, help, []string{"reader"}, nil), kind, of}
}

func figures() []figure {
	counter := func(name, help string, of func(*Stats) uint64) figure {
		return newFigure(name+"_total", help, prometheus.CounterValue, func(s *Stats, _ float64) float64 { return float64(of(s)) })
	}
	gauge := func(name, help string, of func(*Stats, float64) float64) figure {
		return newFigure(name, help, prometheus.GaugeValue, of)
	}
	return []figure{
		gauge("lag_entries", "Finished calls that the reader has not dealt with.", func(s *Stats, _ float64) float64 { return float64(s.Lag) }),
		gauge("lag_seconds", "Age of the oldest of them.", func(s *Stats, now float64) float64 {
			if s.Oldest.IsZero() {
				return 0
			}
			return max(0, now-float64(s.Oldest.UnixMilli())/1e3)
		}),
		gauge("healthy", "1 while the last delivery went well.", func(s *Stats, _ float64) float64 {
			if s.Fault == nil && !s.Unused {
				return 1
			}
			return 0
		}),
		gauge("unused", "1 for a reader that is not configured any more and that entries are kept for.", func(s *Stats, _ float64) float64 {
			if s.Unused {
				return 1
			}
			return 0
		}),
		gauge("dead_letters", "Entries that the sink refused and that are kept.", func(s *Stats, _ float64) float64 { return float64(s.Dead) }),
		counter("delivered", "Entries delivered.", func(s *Stats) uint64 { return s.Delivered }),
		counter("batches", "Batches delivered.", func(s *Stats) uint64 { return s.Batches }),
		counter("retries", "Deliveries that failed and were tried again.", func(s *Stats) uint64 { return s.Retried }),
		counter("rejected", "Entries that the sink refused and that were put aside.", func(s *Stats) uint64 { return s.Rejected }),
		counter("replayed", "Dead letters that were delivered after all.", func(s *Stats) uint64 { return s.Replayed }),
		counter("dead_letters_dropped", "Dead letters dropped for their number or age.", func(s *Stats) uint64 { return s.DeadDropped }),
		counter("skipped", "Entries that are not for this sink.", func(s *Stats) uint64 { return s.Skipped }),
		counter("withheld", "Entries that must not leave for this sink's region.", func(s *Stats) uint64 { return s.Withheld }),
		counter("stripped", "Entries delivered without what their clients sent or were told: data_regions.", func(s *Stats) uint64 { return s.Stripped }),
		counter("damaged", "Entries that could not be read.", func(s *Stats) uint64 { return s.Damaged }),
		counter("lost", "Entries given up for space before they were delivered.", func(s *Stats) uint64 { return s.Lost }),
	}
}

// collector shows the stats of a set.
type collector struct {
	set     *Set
	figures []figure
}

var _ prometheus.Collector = (*collector)(nil)

// Collector gives the metrics of all readers, by reader.
func (s *Set) Collector() prometheus.Collector { return &collector{s, figures()} }

// Describe is prometheus's.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		ch <- f.desc
	}
}

// Collect is prometheus's.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := float64(c.set.cfg.Clock.Now().UnixMilli()) / 1e3
	for _, s := range c.set.Stats() {
		for _, f := range c.figures {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(&s, now), s.Name)
		}
	}
}
