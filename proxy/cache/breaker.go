package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// tolerated is how many questions in a row a store may leave unanswered before
// it is asked no more: each has made a caller wait.
const tolerated = 3

// lookEvery is how often a store that has not answered is looked at again.
const lookEvery = time.Second

// breaker stands before a store that may be away. Once it has not answered a few
// times it is left alone, so that callers wait for nothing; in the background it
// is pinged until it is back.
type breaker struct {
	Store
	patience time.Duration // for one question
	log      *slog.Logger
	failed   atomic.Int32
	down     atomic.Bool
	closed   atomic.Bool
	why      atomic.Value // string: the last fault
}

// ask runs one question, unless the store is down.
func (b *breaker) ask(ctx context.Context, f func(ctx context.Context) error) error {
	if b.down.Load() {
		return ErrDown
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	err := f(ctx)
	b.heard(err)
	return err
}

// heard counts how a question went.
func (b *breaker) heard(err error) {
	if err == nil || errors.Is(err, ErrMiss) {
		b.failed.Store(0)
		return
	}
	if b.closed.Load() { // calls may still hold it
		return
	}
	b.why.Store(err.Error())
	if b.failed.Add(1) >= tolerated && b.down.CompareAndSwap(false, true) {
		b.log.Warn("the cache does not answer; calls go on without it", "error", err)
	}
}

// fault is why the store is down, "" when it is not.
func (b *breaker) fault() string {
	if !b.down.Load() {
		return ""
	}
	s, _ := b.why.Load().(string)
	return s
}

// look asks a store that is down whether it is back.
func (b *breaker) look(ctx context.Context) {
	if !b.down.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(b.patience, lookEvery))
	defer cancel()
	if err := b.Store.Ping(ctx); err != nil {
		b.why.Store(err.Error())
		return
	}
	b.failed.Store(0)
	if b.down.CompareAndSwap(true, false) {
		b.log.Info("the cache answers again")
	}
}

// Close ends the store.
func (b *breaker) Close() error {
	b.closed.Store(true)
	return b.Store.Close()
}

func (b *breaker) Get(ctx context.Context, key string) (v []byte, err error) {
	err = b.ask(ctx, func(ctx context.Context) error {
		v, err = b.Store.Get(ctx, key)
		return err
	})
	return v, err
}

func (b *breaker) GetAll(ctx context.Context, keys []string) (v [][]byte, err error) {
	err = b.ask(ctx, func(ctx context.Context) error {
		v, err = b.Store.GetAll(ctx, keys)
		return err
	})
	return v, err
}

func (b *breaker) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return b.ask(ctx, func(ctx context.Context) error { return b.Store.Set(ctx, key, value, ttl) })
}
