package reader_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// base is a sink that knows its position, like a database.
type base struct {
	receiver
	pos uint64
	// lies: the batch is taken and the answer is a fault all the same.
	lies int
	down bool
}

func (b *base) Deliver(ctx context.Context, batch []*store.Entry) error {
	b.mu.Lock()
	down := b.down
	b.mu.Unlock()
	if down {
		return errAway
	}
	if err := b.receiver.Deliver(ctx, batch); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pos = batch[len(batch)-1].Seq
	if b.lies > 0 {
		b.lies--
		return errors.New("connection lost at commit")
	}
	return nil
}

func (b *base) Position(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return 0, errAway
	}
	return b.pos, nil
}

func TestUnknownOutcomeIsAskedForAndNothingComesTwice(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		b := &base{lies: 3}
		r := reader.New(l, "db", b, reader.Config{MaxEntries: 4})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 20)
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, numbers(store.Seq(l.Incarnation(), 1), last), b.seen())
		require.Equal(t, uint64(3), r.Stats().Retried)
	})
}

func TestSinkThatCannotSayWhereItStandsIsAskedUntilItCan(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		b := &base{down: true}
		r := reader.New(l, "db", b, reader.Config{})
		stop := start(t, r)
		defer stop()
		last := book(t, l, 3)
		time.Sleep(10 * time.Minute)
		require.Empty(t, b.seen())
		b.mu.Lock()
		b.down = false
		b.mu.Unlock()
		require.NoError(t, r.Flush(t.Context()))
		require.Equal(t, last, r.Stats().Position)
		require.Len(t, b.seen(), 3)
	})
}

func TestDatabaseRestoredFromABackupGetsTheRestAgain(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		b := &base{}
		r := reader.New(l, "db", b, reader.Config{})
		stop := start(t, r)
		last := book(t, l, 10)
		require.NoError(t, r.Flush(t.Context()))
		stop()
		b.pos, b.took = last-4, nil
		r = reader.New(l, "db", b, reader.Config{})
		stop = start(t, r)
		defer stop()
		until(t, time.Minute, func() bool { return len(b.seen()) == 4 })
		require.Equal(t, numbers(last-3, last), b.seen())
		cursors, err := l.Cursors()
		require.NoError(t, err)
		require.Equal(t, last, cursors["db"])
	})
}

func TestAnotherWriterThatGotFurtherIsFollowed(t *testing.T) {
	virtual(t, func(t *testing.T, l *store.Ledger) {
		last := book(t, l, 10)
		b := &base{pos: last - 2}
		r := reader.New(l, "db", b, reader.Config{})
		stop := start(t, r)
		defer stop()
		until(t, time.Minute, func() bool { return r.Stats().Position == last })
		require.Equal(t, numbers(last-1, last), b.seen())
	})
}
