package reader_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

func TestSinkThatIsAwayForMinutesGetsAllInOrder(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		back := time.Now().Add(7 * time.Minute)
		s := &receiver{fault: func(int, []*store.Entry) error {
			if time.Now().Before(back) {
				return errAway
			}
			return nil
		}}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 10})
		stop := start(t, r)
		last := book(t, l, 25)
		until(t, 5*time.Minute, func() bool { return r.Stats().Retried > 3 })
		require.Equal(t, uint64(25), r.Stats().Lag)
		require.NotZero(t, r.Stats().FailingFor)
		require.ErrorIs(t, r.Stats().Fault, errAway)
		last = book(t, l, 30)
		until(t, 10*time.Minute, func() bool { return r.Stats().Position == last })
		first := store.Seq(l.Incarnation(), 1)
		require.Subset(t, s.seen(), numbers(first, last))
		require.IsNonDecreasing(t, s.seen())
		require.Zero(t, r.Stats().Lag)
		require.NoError(t, r.Stats().Fault)
		require.Less(t, r.Stats().Retried, uint64(25), "pauses grow")
		stop()
	})
}
