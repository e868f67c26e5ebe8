package store

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	spaceEvery  = time.Second
	retainEvery = time.Hour
)

// Run keeps the ledger going until ctx ends: background syncs, the index, space
// and retention. It returns nil, or why the ledger can no longer write.
func (l *Ledger) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if l.cfg.Sync != SyncNone {
		g.Go(func() error { return l.every(ctx, l.cfg.SyncEvery, l.syncer()) })
	}
	g.Go(func() error { return l.every(ctx, indexEvery, l.CatchUp) })
	g.Go(func() error {
		return l.every(ctx, spaceEvery, func() error {
			l.checkSpace()
			return nil
		})
	})
	g.Go(func() error {
		return l.every(ctx, retainEvery, func() error { return l.Retain(l.cfg.Clock.Now()) })
	})
	return g.Wait()
}

// every calls fn at the interval. Faults are told once and tried again; only a
// ledger that cannot write any more ends the walk.
func (l *Ledger) every(ctx context.Context, d time.Duration, fn func() error) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := fn()
		if broken := l.health.broken(); broken != nil {
			return broken
		}
		switch {
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			l.cfg.Logger.Error("ledger upkeep failed", "error", err)
		}
	}
}

// intentsSeldom is how many syncs of the log go to one of the intents. A sync
// costs as much as several calls. What the disk lacks of the intents matters
// only after a power cut, and only for calls that nobody had an answer of.
const intentsSeldom = 10

// syncer gives the background sync: the log each time, the intents at some.
func (l *Ledger) syncer() func() error {
	n := 0
	return func() error {
		if n++; n%intentsSeldom == 0 {
			return l.syncOnce()
		}
		return l.wal.flush()
	}
}

// syncOnce brings the log and then the intents to the disk. The log goes first,
// so that an intent's end seldom gets there before the settlement that ended it;
// after a power cut the budgets count all the node's credit as spent anyway.
func (l *Ledger) syncOnce() error {
	if err := l.wal.flush(); err != nil {
		return err
	}
	return l.slots.sync()
}
