package peer_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer/peertest"
)

// BenchmarkCall is a call of 200 bytes between two nodes on loopback; both sides
// are in this process, so cpu-µs/call counts both.
func BenchmarkCall(b *testing.B) {
	p := peertest.Start(b, peertest.NewAuthority(b), "node-a", "node-b")
	p[1].Handle("echo", func(_ context.Context, _ string, r []byte) ([]byte, error) { return r, nil })
	request := make([]byte, 200)
	_, err := p[0].Call(context.Background(), "node-b", "echo", request)
	require.NoError(b, err)
	run := func(b *testing.B, f func(b *testing.B)) {
		b.ReportAllocs()
		before := cpu(b)
		f(b)
		b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-µs/call")
	}
	one := func(b *testing.B) {
		if _, err := p[0].Call(context.Background(), "node-b", "echo", request); err != nil {
			b.Error(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		run(b, func(b *testing.B) {
			for b.Loop() {
				one(b)
			}
		})
	})
	b.Run("32 at a time", func(b *testing.B) {
		b.SetParallelism(16)
		run(b, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one(b)
				}
			})
		})
	})
}

// cpu is the processor time of this process in µs.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}
