package cache

import "github.com/prometheus/client_golang/prometheus"

func (c *Cache) register(reg prometheus.Registerer) {
	count := func(name, help, result string, n *counter) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help,
			ConstLabels: prometheus.Labels{"result": result}}, n.value))
	}
	const asked, kept = "tollgate_cache_lookups_total", "tollgate_cache_writes_total"
	count(asked, "Look-ups in the cache of answers.", "hit", &c.hits)
	count(asked, "Look-ups in the cache of answers.", "miss", &c.misses)
	count(asked, "Look-ups in the cache of answers.", "fault", &c.faults)
	count(kept, "Answers that were to be kept.", "stored", &c.stored)
	count(kept, "Answers that were to be kept.", "dropped", &c.dropped)
	gauge := func(name, help string, f func(o *opened) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if o := c.now.Load(); o != nil {
				return f(o)
			}
			return 0
		}))
	}
	gauge("tollgate_cache_up", "1 while the cache of answers may be asked.", func(o *opened) float64 {
		if o.breaker != nil && o.breaker.down.Load() {
			return 0
		}
		return 1
	})
	gauge("tollgate_cache_items", "Answers kept in memory.", func(o *opened) float64 {
		if o.memory == nil {
			return 0
		}
		items, _ := o.memory.size()
		return float64(items)
	})
	gauge("tollgate_cache_bytes", "Memory that is counted for kept answers.", func(o *opened) float64 {
		if o.memory == nil {
			return 0
		}
		_, bytes := o.memory.size()
		return float64(bytes)
	})
}
