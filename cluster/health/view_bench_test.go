package health_test

import (
	"testing"
	"time"

	"tollgate/cluster/health"
)

func BenchmarkReportOK(b *testing.B) {
	v, err := health.New(health.Config{Node: "n"})
	if err != nil {
		b.Fatal(err)
	}
	o := health.Observation{Deployment: "0b55c2bd6a3d7e5b61c6d3a1f4d7a9e8", Credential: "0011223344556677", Latency: time.Second}
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v.Report(o)
		}
	})
	b.Run("all processors on one deployment", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				v.Report(o)
			}
		})
	})
}

func BenchmarkCooling(b *testing.B) {
	for _, tc := range []struct {
		name string
		rest bool
	}{{"nothing rests", false}, {"another rests", true}} {
		b.Run(tc.name, func(b *testing.B) {
			v, err := health.New(health.Config{Node: "n"})
			if err != nil {
				b.Fatal(err)
			}
			if tc.rest {
				v.Report(health.Observation{Deployment: "x", Credential: "y", Outcome: health.Quota})
			}
			b.ReportAllocs()
			for b.Loop() {
				v.Cooling(health.Ref{Deployment: "0b55c2bd6a3d7e5b61c6d3a1f4d7a9e8", Credential: "0011223344556677"})
			}
		})
	}
}
