package store_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/ledger/store"
)

func TestReaderThatFollowsMissesNothing(t *testing.T) {
	l := open(t, store.Config{})
	const calls = 3000
	var next atomic.Uint64
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for n := next.Add(1); n <= calls; n = next.Add(1) {
				if _, err := l.Settle(store.Ref{}, sampleEntry(n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen := uint64(0)
	for seen < calls {
		require.NoError(t, l.Wait(ctx, store.Seq(l.Incarnation(), seen)))
		for e, err := range l.Entries(store.Seq(l.Incarnation(), seen)) {
			require.NoError(t, err)
			seen++
			require.Equal(t, store.Seq(l.Incarnation(), seen), e.Seq)
		}
	}
	writers.Wait()
}

func TestRunIndexesSyncsAndEndsWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for i := range uint64(50) {
		settle(t, l, i+1)
	}
	require.Eventually(t, func() bool { s := l.Stats(); return s.Indexed == s.LastSeq && s.Syncs > 0 }, 20*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, l.Close())
}

func TestSpansHoldEveryCallThatStartedInThem(t *testing.T) {
	l := open(t, store.Config{})
	rng := rand.New(rand.NewPCG(3, 4))
	end := t0
	var entries []*store.Entry
	for i := range uint64(400) {
		e := sampleEntry(i + 1)
		// Clocks may step back, and calls may take an hour.
		end = end.Add(time.Duration(rng.IntN(90)-15) * time.Second)
		e.End, e.Start = end, end.Add(-time.Duration(rng.IntN(3600))*time.Second)
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
		entries = append(entries, e)
		if i%37 == 0 {
			require.NoError(t, l.CatchUp())
		}
	}
	require.NoError(t, l.CatchUp())
	for range 200 {
		from := t0.Add(time.Duration(rng.IntN(18000)-4000) * time.Second)
		to := from.Add(time.Duration(rng.IntN(4000)) * time.Second)
		spans, err := l.Spans(from, to)
		require.NoError(t, err)
		in := func(seq uint64) bool {
			for _, s := range spans {
				if s.First <= seq && seq <= s.Last {
					return true
				}
			}
			return false
		}
		for _, e := range entries {
			if !e.Start.Before(from) && e.Start.Before(to) {
				require.True(t, in(e.Seq), "%s in [%s, %s)", e.Start, from, to)
			}
		}
		for i := 1; i < len(spans); i++ {
			require.Less(t, spans[i-1].Last, spans[i].First)
		}
	}
}
