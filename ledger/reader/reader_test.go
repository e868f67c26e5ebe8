package reader_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

func away(until time.Time) func(int, []*store.Entry) error {
	return func(int, []*store.Entry) error {
		if time.Now().Before(until) {
			return errAway
		}
		return nil
	}
}

func TestSinkThatIsAwayForMinutesGetsAllInOrder(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		s := &receiver{fault: away(time.Now().Add(7 * time.Minute))}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 10})
		stop := start(t, r)
		defer stop()
		book(t, l, 25)
		until(t, 5*time.Minute, func() bool { return r.Stats().Retried > 3 })
		require.Equal(t, uint64(25), r.Stats().Lag)
		require.NotZero(t, r.Stats().FailingFor)
		require.ErrorIs(t, r.Stats().Fault, errAway)
		last := book(t, l, 30)
		until(t, 10*time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, numbers(store.Seq(l.Incarnation(), 1), last), s.seen())
		require.Zero(t, r.Stats().Lag)
		require.NoError(t, r.Stats().Fault)
		require.Less(t, r.Stats().Retried, uint64(25), "pauses grow")
		require.Zero(t, r.Stats().Rejected, "an absence is nobody's fault")
	})
}

// returning is a receiver that notices when it is there again.
type returning struct {
	*receiver
	back chan struct{}
}

func (r returning) Back() <-chan struct{} { return r.back }

func TestAPauseEndsWhenTheSinkIsBack(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		// It comes back after 40 min, of which nobody would know for up to a minute.
		s := returning{&receiver{fault: away(time.Now().Add(40 * time.Minute))}, make(chan struct{})}
		r := reader.New(l, "r", s, reader.Config{Rand: func() float64 { return 1 }})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 25)
		time.Sleep(40*time.Minute + time.Second)
		require.Zero(t, r.Stats().Position&0xff)
		close(s.back)
		until(t, 2*time.Second, func() bool { return r.Stats().Position == last })
	})
}

func TestReceiverThatSaysWhenIsNotAskedBefore(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		var asked []time.Time
		s := &receiver{fault: func(call int, _ []*store.Entry) error {
			asked = append(asked, time.Now())
			if call <= 2 {
				return &reader.Later{After: 5 * time.Minute, Err: errAway}
			}
			return nil
		}}
		r := reader.New(l, "r", s, reader.Config{})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 1)
		until(t, time.Hour, func() bool { return r.Stats().Position == last })
		require.Len(t, asked, 3)
		for i := range 2 {
			pause := asked[i+1].Sub(asked[i])
			require.GreaterOrEqual(t, pause, 5*time.Minute)
			require.Less(t, pause, 5*time.Minute+5*time.Second)
		}
	})
}

func TestBatchWaitsForOthersNoLongerThanItsTimeAndAFlushEndsTheWait(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		s := &receiver{}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 5, Linger: time.Minute})
		stop := start(t, r)
		defer stop()
		begun := time.Now()
		last := book(t, l, 7)
		until(t, 2*time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, []int{5, 2}, s.sizes)
		require.Less(t, s.at[0].Sub(begun), time.Second, "a full batch does not wait")
		require.InDelta(t, 60, s.at[1].Sub(begun).Seconds(), 1)
		begun = time.Now()
		book(t, l, 1)
		require.NoError(t, r.Flush(t.Context()))
		require.Less(t, time.Since(begun), time.Second)
		require.Len(t, s.seen(), 8)
	})
}

func TestFlushTriesAtOnceAndTellsTheFault(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		back := time.Now().Add(time.Hour)
		s := &receiver{fault: away(back)}
		r := reader.New(l, "r", s, reader.Config{MinPause: time.Hour, MaxPause: 3 * time.Hour})
		stop := start(t, r)
		last := book(t, l, 3)
		until(t, time.Minute, func() bool { return s.asked() == 1 })
		require.ErrorIs(t, r.Flush(t.Context()), errAway)
		require.Equal(t, 2, s.asked())
		time.Sleep(time.Until(back))
		require.NoError(t, r.Flush(t.Context()))
		require.Equal(t, last, r.Stats().Position)
		stop()
		require.NoError(t, r.Flush(t.Context()), "nothing is left")
		book(t, l, 1)
		require.ErrorIs(t, r.Flush(t.Context()), reader.ErrEnded)
	})
}

func TestRefusedEntriesArePutAsideAndReplayed(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		bad := map[uint64]bool{store.Seq(l.Incarnation(), 2): true, store.Seq(l.Incarnation(), 9): true}
		mended := false
		s := &receiver{fault: func(_ int, batch []*store.Entry) error {
			no := map[uint64]error{}
			for _, e := range batch {
				if bad[e.Seq] && !mended {
					no[e.Seq] = fmt.Errorf("no such field in %d", e.Seq)
				}
			}
			if len(no) > 0 {
				return &reader.Rejected{Entries: no}
			}
			return nil
		}}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 4})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 10)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Len(t, s.seen(), 8)
		st := r.Stats()
		require.Equal(t, uint64(2), st.Rejected)
		require.Equal(t, uint64(8), st.Delivered)
		require.Equal(t, 2, st.Dead)
		for d, err := range l.Dead("r") {
			require.NoError(t, err)
			require.True(t, bad[d.Seq])
			require.Contains(t, d.Reason, "no such field")
			require.Equal(t, "openai/gpt-4o", d.Entry.Model)
		}
		sum, err := r.Replay(t.Context(), reader.Filter{Reason: "something else"})
		require.NoError(t, err)
		require.Zero(t, sum)
		sum, err = r.Replay(t.Context(), reader.Filter{})
		require.NoError(t, err)
		require.Equal(t, reader.Replayed{Refused: 2}, sum)
		mended = true
		sum, err = r.Replay(t.Context(), reader.Filter{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, reader.Replayed{Delivered: 1}, sum)
		sum, err = r.Replay(t.Context(), reader.Filter{})
		require.NoError(t, err)
		require.Equal(t, reader.Replayed{Delivered: 1}, sum)
		require.ElementsMatch(t, numbers(store.Seq(l.Incarnation(), 1), last), s.seen())
		require.Zero(t, r.Stats().Dead)
	})
}

func TestOldestDeadLettersGoWhenThereAreTooMany(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		s := &receiver{fault: func(_ int, batch []*store.Entry) error {
			no := map[uint64]error{}
			for _, e := range batch {
				no[e.Seq] = errAway
			}
			return &reader.Rejected{Entries: no}
		}}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 3, KeepDead: 5, KeepDeadFor: time.Hour})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 20)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, 5, r.Stats().Dead)
		require.Equal(t, uint64(15), r.Stats().DeadDropped)
		var left []uint64
		for d, err := range l.Dead("r") {
			require.NoError(t, err)
			left = append(left, d.Seq)
		}
		require.Equal(t, numbers(last-4, last), left)
		time.Sleep(2 * time.Hour)
		last = book(t, l, 1)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, 1, r.Stats().Dead, "the old ones have had their time")
	})
}

// A receiver that dies of one entry answers like one that is away.
func TestEntriesThatAloneAreToBlameDoNotBlockTheRest(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		first := store.Seq(l.Incarnation(), 1)
		poison := map[uint64]bool{first + 6: true, first + 7: true, first + 30: true}
		s := &receiver{fault: func(_ int, batch []*store.Entry) error {
			for _, e := range batch {
				if poison[e.Seq] {
					return errors.New("internal error")
				}
			}
			return nil
		}}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 16})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 40)
		until(t, 2*time.Hour, func() bool { return r.Stats().Position == last })
		require.Equal(t, uint64(3), r.Stats().Rejected)
		got := map[uint64]bool{}
		for _, seq := range s.seen() {
			got[seq] = true
		}
		for _, seq := range numbers(first, last) {
			require.Equal(t, !poison[seq], got[seq], "entry %d", seq-first+1)
		}
	})
}

func TestOutageOfADayBlamesNobody(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		s := &receiver{fault: away(time.Now().Add(24 * time.Hour))}
		r := reader.New(l, "r", s, reader.Config{MaxEntries: 8})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 50)
		time.Sleep(24 * time.Hour)
		until(t, time.Hour, func() bool { return r.Stats().Position == last })
		require.Zero(t, r.Stats().Rejected)
		require.Subset(t, s.seen(), numbers(store.Seq(l.Incarnation(), 1), last))
	})
}

func TestWhatMustNotLeaveOrIsNotWantedIsPassedAndCounted(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		s := &receiver{}
		r := reader.New(l, "r", s, reader.Config{
			MaxEntries: 2,
			Want:       func(e *store.Entry) bool { return e.Seq%2 == 0 },
			Allow:      func(e *store.Entry) bool { return e.Seq%3 == 0 },
		})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 60)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		for _, seq := range s.seen() {
			require.Zero(t, seq%6)
		}
		st := r.Stats()
		require.Equal(t, uint64(60), st.Delivered+st.Skipped+st.Withheld)
		require.Equal(t, uint64(30), st.Skipped)
	})
}

func TestNewCallbackBeginsWithTheCallsToCome(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		old := book(t, l, 5)
		s := &receiver{}
		r := reader.New(l, "r", s, reader.Config{FromNow: true, Loose: true})
		stop := start(t, r)
		until(t, time.Minute, func() bool { return r.Stats().Position == old })
		stop()
		last := book(t, l, 5) // booked while it does not run: its place is known
		again := reader.New(l, "r", s, reader.Config{FromNow: true, Loose: true})
		stop = start(t, again)
		defer stop()
		until(t, time.Minute, func() bool { return again.Stats().Position == last })
		require.Equal(t, numbers(old+1, last), s.seen())
	})
}

func TestReaderGoesOnAfterAKillBetweenDeliveryAndCursor(t *testing.T) {
	dir := t.TempDir()
	var first, last uint64
	s := &receiver{}
	func() {
		l := open(t, dir)
		defer l.Close()
		first = store.Seq(l.Incarnation(), 1)
		last = book(t, l, 10)
		// What a kill leaves: delivered, and the cursor not moved.
		for e, err := range l.Between(first, first+3) {
			require.NoError(t, err)
			require.NoError(t, s.Deliver(context.Background(), []*store.Entry{e}))
		}
		_, err := l.Cursor("r")
		require.NoError(t, err)
	}()
	l := open(t, dir)
	defer l.Close()
	r := reader.New(l, "r", s, reader.Config{MaxEntries: 3})
	stop := start(t, r)
	require.NoError(t, r.Flush(t.Context()))
	stop()
	require.Subset(t, s.seen(), numbers(first, last))
	require.Equal(t, numbers(first, last), s.seen()[4:], "in order, from the cursor on")
	require.NoError(t, l.Close())
}

func TestBatchesAreBoundedInBytes(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		for n := range uint64(6) {
			e := entry(n + 1)
			e.Messages = make([]byte, 400<<10)
			_, err := l.Settle(store.Ref{}, e)
			require.NoError(t, err)
		}
		s := &receiver{}
		r := reader.New(l, "r", s, reader.Config{MaxBytes: 1 << 20, Bodies: reader.RowBodies})
		stop := start(t, r)
		defer stop()
		until(t, time.Minute, func() bool { return len(s.seen()) == 6 })
		require.Equal(t, []int{2, 2, 2}, s.sizes)
	})
}
