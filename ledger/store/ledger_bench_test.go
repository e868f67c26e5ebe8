package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

func cpuNow() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkCall books whole calls, intent and settlement, and reports processor
// time a call beside the elapsed time.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []store.Mode{store.SyncProcess, store.SyncAlways, store.SyncNone} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(string(mode)+"/"+itoa(callers), func(b *testing.B) {
				benchCalls(b, mode, callers, true)
			})
		}
	}
}

func BenchmarkBegin(b *testing.B) {
	l := open(b, store.Config{})
	in := sampleIntent(1)
	b.ReportAllocs()
	for b.Loop() {
		ref, err := l.Begin(in)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Abort(ref); err != nil {
			b.Fatal(err)
		}
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func benchCalls(b *testing.B, mode store.Mode, callers int, intents bool) {
	l := open(b, store.Config{Sync: mode})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = l.Run(ctx) })
	defer func() { cancel(); run.Wait() }()
	var next atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuNow()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			in, e := sampleIntent(0), sampleEntry(0)
			for {
				n := next.Add(1)
				if n > uint64(b.N) {
					return
				}
				in.CallID, e.CallID = callID(n), callID(n)
				ref := store.Ref{}
				if intents {
					var err error
					if ref, err = l.Begin(in); err != nil {
						b.Error(err)
						return
					}
				}
				if _, err := l.Settle(ref, e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	require.NoError(b, l.CatchUp())
	b.ReportMetric(float64(cpuNow()-cpu)/float64(b.N), "cpu-ns/op")
	s := l.Stats()
	b.ReportMetric(float64(s.Settled)/float64(s.Batches), "calls/batch")
}
