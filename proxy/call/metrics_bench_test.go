package call_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/call"
)

// BenchmarkMetricsOfManyKeys is the first and a later call of each of 20,000
// keys, what they keep in memory, and one look at the page.
func BenchmarkMetricsOfManyKeys(b *testing.B) {
	keys := make([]*model.Key, 20_000)
	for i := range keys {
		keys[i] = &model.Key{Hash: fmt.Sprintf("%064x", i)}
	}
	d := &state.Deployment{}
	d.ID, d.Model, d.Provider, d.APIBase = "d-1", "gpt-x", "openai", "https://api.test/v1"
	var reg *prometheus.Registry
	var m *call.Metrics
	all := func() {
		for _, k := range keys {
			m.Count(k, "m", d)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			reg = prometheus.NewRegistry()
			m = call.NewMetrics(reg, func() int64 { return 0 })
			before := heap()
			begin := cpuNow()
			all()
			b.ReportMetric(float64(cpuNow()-begin)/float64(len(keys)), "cpu-ns/call")
			b.ReportMetric(float64(heap()-before)/float64(len(keys)), "B/key")
		}
	})
	b.Run("later", func(b *testing.B) {
		for b.Loop() {
			all()
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(len(keys)), "ns/call")
	})
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reg.Gather(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func cpuNow() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
