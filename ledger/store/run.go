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
		g.Go(func() error { return l.after(ctx, l.wal.woken, l.cfg.SyncEvery, l.wal.flush) })
		g.Go(func() error { return l.after(ctx, l.slots.woken, intentsSeldom*l.cfg.SyncEvery, l.syncOnce) })
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
	var faults teller
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		faults.tell(l, fn())
		if broken := l.health.broken(); broken != nil {
			return broken
		}
	}
}

// after calls fn at a distance from each ring, so that what comes meanwhile is
// done with it, and rests while nothing rings.
func (l *Ledger) after(ctx context.Context, rings alarm, d time.Duration, fn func() error) error {
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	var faults teller
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rings:
		}
		pause.Reset(d)
		select {
		case <-ctx.Done():
			return nil // Close does what is left
		case <-pause.C:
		}
		faults.tell(l, fn())
		if broken := l.health.broken(); broken != nil {
			return broken
		}
	}
}

// teller logs a fault of the upkeep once for as long as it stays the same.
type teller struct{ told string }

func (t *teller) tell(l *Ledger, err error) {
	switch {
	case err == nil:
		t.told = ""
	case l.health.broken() == nil && err.Error() != t.told:
		t.told = err.Error()
		l.cfg.Logger.Error("ledger upkeep failed", "error", err)
	}
}

// alarm wakes one goroutine; rings that nobody has heard yet are one.
type alarm chan struct{}

func newAlarm() alarm { return make(alarm, 1) }

func (a alarm) ring() {
	select {
	case a <- struct{}{}:
	default:
	}
}

// intentsSeldom is how many times rarer than the log the intents are synced. A sync
// costs as much as several calls. What the disk lacks of the intents matters
// only after a power cut, and only for calls that nobody had an answer of.
const intentsSeldom = 10

// syncOnce brings the log and then the intents to the disk. The log goes first,
// so that an intent's end seldom gets there before the settlement that ended it;
// after a power cut the budgets count all the node's credit as spent anyway.
func (l *Ledger) syncOnce() error {
	if err := l.wal.flush(); err != nil {
		return err
	}
	return l.slots.sync()
}
