package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// ErrUnavailable means that the bank has not said anything in time: the budget
// may well have room. It is our fault, not the caller's.
var ErrUnavailable = errors.New("no word from the budget bank")

// ErrFenced means that the cluster has closed this start's books: it holds no
// credit any more and must be restarted before it can admit budgeted calls.
var ErrFenced = errors.New("this node's budget books were closed by the cluster")

// ErrUnknown means that the bank knows no such budget.
var ErrUnknown = errors.New("the budget bank knows no such budget")

// Exhausted is the refusal of one budget.
type Exhausted struct {
	Index      int // in the charges given
	Scope      model.Scope
	Limit      unit.Money
	Spent      unit.Money // settled in this window, cluster-wide as far as known
	Reserved   unit.Money // held by calls in flight
	Need       unit.Money
	Resets     time.Time     // zero: never
	RetryAfter time.Duration // 0: not by waiting
}

// Error is a short form for logs.
func (e *Exhausted) Error() string {
	return fmt.Sprintf("budget of %s %q exhausted: spent %s, reserved %s, limit %s", e.Scope.Dim, e.Scope.ID, e.Spent, e.Reserved, e.Limit)
}

// Charge is one budget that a call passes, with its definition as the call's
// own snapshot has it.
type Charge struct {
	Scope model.Scope
	Def   model.BudgetDef
}

// Config of an Account.
type Config struct {
	Node        NodeID
	Incarnation uint64
	// Propose commits a payload and returns what the bank answered. It may
	// fail with an unknown outcome: everything in a payload is cumulative.
	Propose func(ctx context.Context, payload []byte) (*Answer, error)
	// Look reads the local copy of the bank (Bank.Look with this node's
	// lease); nil when there is none. It spares the first ask for a budget.
	Look  func(scope model.Scope) (View, bool)
	Clock unit.Clock
	Log   *slog.Logger

	Tick      time.Duration // least time between two batches: 20 ms
	Retry     time.Duration // least time between two asks for one budget: 100 ms
	WaitMax   time.Duration // longest wait without progress: 1 s
	WaitTotal time.Duration // longest wait at all: 10 s
	Horizon   time.Duration // of demand to hold credit for: 10 s
	Idle      time.Duration // credit unused for so long goes back: 10 s
	Report    time.Duration // settled spend of a budget that nears its end is told after so long: 1 s
	Timeout   time.Duration // of one Propose: 5 s
}

// WithDefaults fills in what was left zero.
func (c Config) WithDefaults() Config {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&c.Tick, 20 * time.Millisecond}, {&c.Retry, 100 * time.Millisecond}, {&c.WaitMax, time.Second},
		{&c.WaitTotal, 10 * time.Second}, {&c.Horizon, 10 * time.Second}, {&c.Idle, 10 * time.Second}, {&c.Report, time.Second}, {&c.Timeout, 5 * time.Second}} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate lists what is missing.
func (c Config) Validate() error {
	var errs []error
	if c.Node == "" {
		errs = append(errs, errors.New("budget account: no node id"))
	}
	if c.Incarnation == 0 {
		errs = append(errs, errors.New("budget account: no incarnation"))
	}
	if c.Propose == nil {
		errs = append(errs, errors.New("budget account: nothing to propose with"))
	}
	return errors.Join(errs...)
}

// Account is this node's side of the bank: the credit it holds and the calls
// that hold parts of it.
//
// Locks, in the order in which they are taken: waitMu, the locks of several
// records in the order of their numbers, a shelf's, askMu. None is held while
// anything is proposed.
type Account struct {
	cfg     Config
	order   atomic.Uint64 // numbers of records
	tickets atomic.Uint64 // of waiters
	fenced  atomic.Bool

	shelf [shards]shelf

	waitMu sync.Mutex // guards the queues of all records
	queues map[*record]struct{}
	ended  bool // Run is over: nobody would end a wait

	askMu  sync.Mutex // guards the two sets
	dirty  map[*record]struct{}
	active map[*record]struct{}
	kicked chan struct{}

	overage atomic.Int64
}

// shelf is a share of the current records.
type shelf struct {
	mu sync.RWMutex
	m  map[model.Scope]*record
}

// shelfOf spreads scopes by both ends of their ids, which is where hashes, names
// and joined ids differ; the whole of a key's hash would cost more than the map.
func shelfOf(s model.Scope) int {
	h := uint32(s.Dim) + uint32(len(s.ID))*31
	for i := range min(8, len(s.ID)) {
		h = h*31 + uint32(s.ID[i])*7 + uint32(s.ID[len(s.ID)-1-i])
	}
	return int((h ^ h>>12) % shards)
}

// record is one budget window as this start of the node sees it.
type record struct {
	scope model.Scope
	order uint64 // records are locked in this order

	mu     sync.Mutex // guards all below but queue
	gone   bool       // no longer on the shelf: evicted, or a newer window has its place
	window int64      // CurrentWindow until the bank has named it
	end    int64
	limit  unit.Money // as the last call's snapshot had it
	since  int64      // likewise: the earliest that a window of the budget may begin
	soft   bool

	g, s, r  unit.Money // of this start, cumulative
	reserved unit.Money
	share    unit.Money
	others   unit.Money // settled by all other starts
	free     unit.Money // left in the bank at its last word
	nodes    int
	tight    bool

	call   unit.Money // the most one call was seen to cost
	used   unit.Money // settled since the last second
	demand unit.Money // per second, smoothed

	lastUse  time.Time
	progress time.Time // credit was freed or granted
	answered time.Time // the bank's last word
	asked    time.Time
	unrolled time.Time // the bank's clock was last found to be before end
	unknown  time.Time // the bank last knew no such budget
	asking   bool
	active   bool
	unmet    bool // the last ask brought less than needed
	backoff  bool // the last ask failed
	unsure   bool // the bank may have granted more than has been heard of
	ackS     unit.Money
	ackR     unit.Money

	waiting int        // calls queued here
	wanted  unit.Money // what they want together
	head    unit.Money // the least that helps the first of them

	queue []*waiter // guarded by Account.waitMu
}

// NewAccount makes an Account. It admits nothing before Start has registered
// the node, and needs Run for anything that has to be asked for.
func NewAccount(cfg Config) (*Account, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Account{cfg: cfg, queues: map[*record]struct{}{}, dirty: map[*record]struct{}{}, active: map[*record]struct{}{}, kicked: make(chan struct{}, 1)}
	for i := range a.shelf {
		a.shelf[i].m = map[model.Scope]*record{}
	}
	return a, nil
}

// Overage is what calls have cost above what they had reserved, since start.
func (a *Account) Overage() unit.Money { return unit.Money(a.overage.Load()) }

// Reserved is what calls in flight hold of a budget on this node.
func (a *Account) Reserved(scope model.Scope) unit.Money {
	sh := &a.shelf[shelfOf(scope)]
	sh.mu.RLock()
	r := sh.m[scope]
	sh.mu.RUnlock()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reserved
}

// Spent is a budget's use in its window as this node knows it, its own unreported
// settlements included. ok is false when the node has not used it yet.
func (a *Account) Spent(scope model.Scope) (spent unit.Money, window int64, ok bool) {
	sh := &a.shelf[shelfOf(scope)]
	sh.mu.RLock()
	r := sh.m[scope]
	sh.mu.RUnlock()
	if r == nil {
		return 0, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent(), r.window, r.window != CurrentWindow
}

// Observe takes a Notice of the local copy of the bank. It does not block.
func (a *Account) Observe(n Notice) {
	sh := &a.shelf[shelfOf(n.Scope)]
	sh.mu.RLock()
	r := sh.m[n.Scope]
	sh.mu.RUnlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	kick := false
	if n.Tight && n.Window == r.window {
		// An answer that was lost may have left credit here that only the bank
		// knows of. Nobody can give back what he does not know he has.
		r.tight, r.nodes, r.unsure = true, n.Nodes, true
		kick = r.recalled()
	}
	if n.Window > r.window && r.window != CurrentWindow {
		r.end, r.unrolled, kick = n.Window, time.Time{}, true
	}
	r.mu.Unlock()
	if kick {
		a.kick(r)
	}
}

// record finds the current record of a scope or makes it from the local copy
// of the bank.
func (a *Account) record(scope model.Scope) *record {
	sh := &a.shelf[shelfOf(scope)]
	sh.mu.RLock()
	r := sh.m[scope]
	sh.mu.RUnlock()
	if r != nil {
		return r
	}
	r = a.blank(scope)
	if a.cfg.Look != nil {
		if v, ok := a.cfg.Look(scope); ok {
			r.from(v)
		}
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if have := sh.m[scope]; have != nil {
		return have
	}
	sh.m[scope] = r
	return r
}

func (a *Account) blank(scope model.Scope) *record {
	return &record{scope: scope, order: a.order.Add(1), window: CurrentWindow, lastUse: a.cfg.Clock.Now()}
}

// from fills a fresh record from the local copy. Its own totals count too: a
// record that was evicted comes back with them.
func (r *record) from(v View) {
	r.window, r.end = v.Window, v.End
	r.g, r.s, r.r, r.share = v.Granted, v.Spent, v.Given, v.Share
	r.ackS, r.ackR = v.Spent, v.Given
	r.others, r.free, r.nodes, r.tight = v.Settled-v.Spent, v.Free, v.Nodes, v.Tight
}

// avail is the credit that nobody holds; below zero after an overage.
func (r *record) avail() unit.Money { return r.g - r.r - r.s - r.reserved }

func (r *record) spent() unit.Money { return r.others.Add(r.s) }

// exact reports whether the budget is too small to keep idle credit on any of
// several nodes.
func (r *record) exact() bool {
	return r.nodes > 1 && r.limit/4/unit.Money(r.nodes) < r.call
}

// recalled reports whether idle credit is to go back at once, because others
// need it more.
func (r *record) recalled() bool { return r.nodes > 1 && (r.tight || r.exact()) }

// nearing reports whether refusals are near or have come: what they say is spent
// should then be what is spent on all nodes.
func (r *record) nearing() bool { return r.tight || r.spent() >= r.limit/5*4 }

// over reports whether the window has ended by this node's clock, or is one of
// an owner who is gone. A bank whose clock says otherwise is believed for one
// retry.
func (r *record) over(now time.Time, retry time.Duration) bool {
	return r.window < r.since || r.end != 0 && now.Unix() >= r.end && now.Sub(r.unrolled) >= retry
}

// kick makes sure that a record is looked at by the next batch.
func (a *Account) kick(r *record) {
	a.askMu.Lock()
	a.dirty[r] = struct{}{}
	a.askMu.Unlock()
	select {
	case a.kicked <- struct{}{}:
	default:
	}
}

// activate has the record's idle credit and reports looked after. It needs the
// record's lock.
func (a *Account) activate(r *record) {
	if r.active {
		return
	}
	r.active = true
	a.askMu.Lock()
	a.active[r] = struct{}{}
	a.askMu.Unlock()
}
