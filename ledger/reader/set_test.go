package reader_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// closing is a receiver that notes its end.
type closing struct {
	receiver
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

func runSet(t *testing.T, s *reader.Set) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestSlowSinkHoldsUpNoOther(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		slow := &receiver{fault: func(int, []*store.Entry) error { time.Sleep(time.Hour); return nil }}
		quick := &receiver{}
		set := reader.NewSet(l, reader.SetConfig{})
		require.NoError(t, set.Update([]reader.Named{
			{Name: "slow", Sink: slow, Config: reader.Config{Within: 2 * time.Hour}}, {Name: "quick", Sink: quick},
		}))
		stop := runSet(t, set)
		last := book(t, l, 500)
		r, err := set.Reader("quick")
		require.NoError(t, err)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Len(t, quick.seen(), 500)
		require.Empty(t, slow.seen())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, set.Flush(ctx), context.DeadlineExceeded)
		require.NoError(t, set.Flush(t.Context()))
		require.Len(t, slow.seen(), 500)
		stop()
	})
}

func TestReadersChangeWhileTheyRun(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		a, b, b2, c := &closing{}, &closing{}, &closing{}, &closing{}
		set := reader.NewSet(l, reader.SetConfig{Others: []string{"db"}})
		_, err := l.Cursor("db")
		require.NoError(t, err)
		loose := reader.Config{Loose: true}
		require.NoError(t, set.Update([]reader.Named{
			{Name: "a", Sink: a, Config: loose, Settings: "1"}, {Name: "b", Sink: b, Config: loose, Settings: "1"},
		}))
		stop := runSet(t, set)
		book(t, l, 3)
		require.NoError(t, set.Flush(t.Context()))
		spare := &closing{}
		require.NoError(t, set.Update([]reader.Named{
			{Name: "b", Sink: b2, Config: loose, Settings: "2"}, {Name: "c", Sink: c, Config: loose, Settings: "1"},
		}))
		require.Equal(t, 1, a.closed)
		require.Equal(t, 1, b.closed)
		require.NoError(t, set.Update([]reader.Named{
			{Name: "b", Sink: b2, Config: loose, Settings: "2"}, {Name: "c", Sink: spare, Config: loose, Settings: "1"},
		}))
		require.Equal(t, 1, spare.closed, "the running one stays")
		require.Zero(t, c.closed)
		book(t, l, 2)
		require.NoError(t, set.Flush(t.Context()))
		require.Len(t, a.seen(), 3)
		require.Len(t, b.seen(), 3)
		require.Len(t, b2.seen(), 2, "it goes on where the other has ended")
		require.Len(t, c.seen(), 5)
		require.Empty(t, spare.seen())

		var unused []string
		for _, s := range set.Stats() {
			if s.Unused {
				unused = append(unused, s.Name)
				require.Equal(t, uint64(2), s.Lag, "kept for it")
			}
		}
		require.Equal(t, []string{"a"}, unused)
		require.Error(t, set.Forget("b"))
		require.Error(t, set.Forget("db"))
		require.ErrorIs(t, set.Forget("nobody"), reader.ErrUnknown)
		require.NoError(t, set.Forget("a"))
		cursors, err := l.Cursors()
		require.NoError(t, err)
		require.NotContains(t, cursors, "a")
		_, err = set.Replay(t.Context(), "a", reader.Filter{})
		require.ErrorIs(t, err, reader.ErrUnknown)
		stop()
		require.Equal(t, 1, c.closed)
		require.Equal(t, 1, b2.closed)
	})
}

func TestMetricsTellEachReader(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		set := reader.NewSet(l, reader.SetConfig{})
		require.NoError(t, set.Update([]reader.Named{
			{Name: "up", Sink: &receiver{}},
			{Name: "down", Sink: &receiver{fault: func(int, []*store.Entry) error { return errAway }}},
		}))
		_, err := l.Cursor("gone")
		require.NoError(t, err)
		stop := runSet(t, set)
		defer stop()
		book(t, l, 4)
		time.Sleep(30 * time.Second)
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(set.Collector()))
		families, err := registry.Gather()
		require.NoError(t, err)
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
				got[strings.TrimPrefix(f.GetName(), "tollgate_reader_")+" "+m.Label[0].GetValue()] = v
			}
		}
		for name, want := range map[string][3]float64{ // down, gone, up
			"delivered_total": {0, 0, 4}, "healthy": {0, 0, 1}, "lag_entries": {4, 4, 0}, "lag_seconds": {30, 30, 0}, "unused": {0, 1, 0},
		} {
			for i, r := range []string{"down", "gone", "up"} {
				require.InDelta(t, want[i], got[name+" "+r], 0.1, "%s of %s", name, r)
			}
		}
		require.NotZero(t, got["retries_total down"])
	})
}
