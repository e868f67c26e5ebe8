package flush

import (
	"context"
	"sync"
	"time"

	"tollgate/ledger/reader"
)

// probeEvery is how often a database that is away is asked whether it is back, with
// one of the two connections for questions; spread, for nodes all ask.
const probeEvery = 2 * time.Second

// returns tells who waits that the database is back.
type returns struct {
	mu   sync.Mutex // guards what follows
	next chan struct{}
}

func (r *returns) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	return r.next
}

func (r *returns) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}

// Back is closed when the database answers again after it has been away: pauses
// between tries may end. It says nothing while the database is there and refuses.
func (d *Database) Back() <-chan struct{} { return d.returns.wait() }

// Back is the database's.
func (s *Sink) Back() <-chan struct{} { return s.d.Back() }

var _ reader.Returning = (*Sink)(nil)

// there tells whether the database answers, and takes what is written to it.
func (d *Database) there(ctx context.Context) bool {
	ctx, end := context.WithTimeout(ctx, probeEvery)
	defer end()
	var writable bool
	err := d.queries.QueryRow(ctx, "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'").Scan(&writable)
	return err == nil && writable
}

// probe looks once whether a database that was away is back; gone is whether a
// look before found it away. Where it has answered all along, who was refused
// waits as long as that takes.
func (d *Database) probe(ctx context.Context, gone bool) (still bool) {
	if !d.there(ctx) {
		return true
	}
	if ctx.Err() != nil || !gone {
		return false
	}
	if d.daily.Load() != nil {
		_ = d.saw(nil)
	}
	d.returns.tell()
	return false
}

// pause waits between two tries, at most until the database is back.
func (d *Database) pause(ctx context.Context, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.Back():
	case <-ctx.Done():
	}
}

// restUntilFault waits, at most until the database is found to be away.
func (d *Database) restUntilFault(ctx context.Context, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.fault:
	case <-ctx.Done():
	}
}
