package reader_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// stuck takes a batch and never answers.
type stuck struct{}

func (stuck) Deliver(ctx context.Context, _ []*store.Entry) error {
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkSettle books calls with no reader, with one whose sink is stuck and
// with one that keeps up: the first two must cost the same.
func BenchmarkSettle(b *testing.B) {
	for _, c := range []struct {
		name string
		sink reader.Sink
	}{{"no-reader", nil}, {"stuck", stuck{}}, {"keeping-up", &receiver{}}} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, b.TempDir())
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			if c.sink == nil {
				done <- nil
			} else {
				r := reader.New(l, "r", c.sink, reader.Config{Within: time.Hour, Linger: time.Second, MaxEntries: 1000})
				go func() { done <- r.Run(ctx) }()
			}
			e := entry(0)
			n := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				n++
				binary.BigEndian.PutUint64(e.CallID[8:], n)
				if _, err := l.Settle(store.Ref{}, e); err != nil {
					b.Fatal(err)
				}
			}
			cancel()
			require.NoError(b, <-done)
			require.NoError(b, l.Close())
		})
	}
}
