package reader_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

var errAway = errors.New("nobody there")

// receiver is a sink whose faults a test chooses. It remembers what it took.
type receiver struct {
	mu    sync.Mutex // guards all below
	calls int
	took  []uint64 // in the order of delivery
	at    []time.Time
	sizes []int
	fault func(call int, batch []*store.Entry) error
}

func (r *receiver) Deliver(_ context.Context, batch []*store.Entry) error {
	r.mu.Lock()
	r.calls++
	call := r.calls
	r.mu.Unlock()
	var err error
	if r.fault != nil { // it may sleep, and virtual time stands while a lock is waited for
		err = r.fault(call, batch)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var refused *reader.Rejected
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for _, e := range batch {
		if refused == nil || refused.Entries[e.Seq] == nil {
			r.took = append(r.took, e.Seq)
		}
	}
	r.at = append(r.at, time.Now())
	r.sizes = append(r.sizes, len(batch))
	return err
}

func (r *receiver) seen() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]uint64(nil), r.took...)
}

func (r *receiver) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// book settles n calls and gives the number of the last.
func book(t testing.TB, l *store.Ledger, n int) uint64 {
	t.Helper()
	var seq uint64
	for range n {
		e := entry(l.LastSeq() + 1)
		var err error
		seq, err = l.Settle(store.Ref{}, e)
		require.NoError(t, err)
	}
	return seq
}

func entry(n uint64) *store.Entry {
	e := &store.Entry{
		CallType: "acompletion", Status: store.Success, Start: time.Now(), End: time.Now(), Key: "k", Model: "openai/gpt-4o",
		Usage: price.Usage{InUncached: 10, OutTotal: 5, Known: true}, Cost: price.Cost{Total: 1000, Priced: true},
	}
	binary.BigEndian.PutUint64(e.CallID[8:], n)
	return e
}

func open(t testing.TB, dir string) *store.Ledger {
	t.Helper()
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1, Sync: store.SyncNone})
	require.NoError(t, err)
	return l
}

// virtual runs a test in virtual time with an open ledger.
func virtual(t *testing.T, fn func(t *testing.T, l *store.Ledger)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir)
		defer func() { require.NoError(t, l.Close()) }()
		fn(t, l)
	})
}

// start runs a reader until the test or stop ends it.
func start(t *testing.T, r *reader.Reader) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

// until waits in virtual time.
func until(t *testing.T, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		require.True(t, time.Now().Before(end), "not within %v", within)
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}

func numbers(first, last uint64) []uint64 {
	var out []uint64
	for s := first; s <= last; s++ {
		out = append(out, s)
	}
	return out
}
