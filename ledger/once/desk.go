package once

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// Method is the one under which nodes ask each other what became of a call.
const Method = "calls.answer"

// Books is the ledger of the calls that this node makes.
type Books interface {
	CatchUp() error
	ByCall(CallID) (*store.Entry, error)
	LoadAnswer(seq uint64) ([]byte, error)
	FirstSeq() (uint64, error)
	Get(seq uint64) (*store.Entry, error)
}

// Config is what a Desk works with.
type Config struct {
	Node        string
	Incarnation uint64
	// LostPower: the machine was restarted before this start, so that the last
	// moments of the start before may be missing in the ledger.
	LostPower bool
	// Propose has a command applied by all nodes.
	Propose func(ctx context.Context, payload []byte) (*Answer, error)
	// Agreed reports whether every node knows claims: only then is anything
	// proposed. Nil: all do.
	Agreed func() bool
	Ledger Books
	// Ask calls another node's Serve.
	Ask func(ctx context.Context, node string, payload []byte) ([]byte, error)
	// May reports whether a node may be told a call's answer; nil: every node may.
	May func(node string, e *store.Entry) bool
	// Copies looks for a call of a node that cannot be asked in the copies of its
	// ledger: the status of its entry, and the answer if it is there too.
	Copies func(ctx context.Context, node string, call CallID) (status string, answer []byte, known bool)
	// Within bounds one proposal, default 10 s.
	Within time.Duration
	Clock  unit.Clock
	Logger *slog.Logger
}

// Desk is a node's side of the claims: it claims keys for this node's calls, knows
// which of them still run, and finds the answers of other calls.
type Desk struct {
	cfg    Config
	single *Claims // keys that were claimed while Agreed was false
	queue  queue
	counts counts

	mu    sync.Mutex // guards what follows
	calls map[CallID]*running
	gone  []CallID // calls whose keys were given back, oldest first
}

// running is a call of this node that has, or may have, a key.
type running struct {
	ended   chan struct{} // closed when it has
	nothing bool          // it has, without an answer
}

type counts struct{ claimed, repeated, waited, unknown, released atomic.Uint64 }

// NewDesk makes a Desk; Run proposes for it.
func NewDesk(cfg Config) *Desk {
	if cfg.Within == 0 {
		cfg.Within = 10 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Desk{cfg: cfg, single: NewClaims(), queue: newQueue(), calls: map[CallID]*running{}}
}

// Why says what keeps a key from a call.
type Why uint8

// The reasons.
const (
	Conflict  Why = iota + 1 // the key was used for another request
	Running                  // the first call runs, and ctx has ended
	Unknown                  // the first call's answer is out of reach
	NotKept                  // the first call was answered, and the answer is no more
	TooMany                  // no more keys can be remembered
	Elsewhere                // the first call's answer may not come to this node
)

// Refused is returned for a call that must not be made.
type Refused struct {
	Why  Why
	Call CallID // that has the key
}

// Error says why, for logs.
func (r *Refused) Error() string {
	switch r.Why {
	case Conflict:
		return "the key was used for another request"
	case Running:
		return "the first call with the key still runs"
	case NotKept:
		return "the first call's answer is not kept any more"
	case TooMany:
		return "too many keys are in use"
	case Elsewhere:
		return "the first call's answer may not come to this node"
	}
	return "what became of the first call is not known"
}

// mostTurns bounds how often a key is taken over from calls without an answer.
const mostTurns = 20

var errContended = errors.New("claim a key: other calls come first over and over")

// Take claims a key for a call that has not begun. With neither answer nor error
// the call is the one to be made, and must be ended by Done or Drop. Otherwise it
// must not be: answer is what the first call with the key was answered, for which
// Take waits as long as ctx lasts; a *Refused says why there is none. Any other
// error means that the claim was not agreed on, and nothing was begun.
func (d *Desk) Take(ctx context.Context, id ID, body Sum, call CallID) (answer []byte, err error) {
	d.begin(call)
	op := Op{Kind: Take, ID: id, Call: call, Body: body}
	for range mostTurns {
		told, err := d.propose(ctx, op)
		if err != nil {
			d.end(call, true)
			d.release(id, call)
			return nil, err
		}
		switch told.Verdict {
		case Yours:
			d.counts.claimed.Add(1)
			return nil, nil
		case Full:
			d.forget(call)
			return nil, &Refused{Why: TooMany}
		}
		became := d.find(ctx, &told.Claim, told.Verdict == Held)
		switch {
		case became.state == stateNothing:
			op.Instead = told.Claim.Call
			continue
		case told.Verdict == OtherBody:
			became.state = stateConflict
		}
		d.forget(call)
		return d.conclude(&told.Claim, became)
	}
	d.forget(call)
	return nil, errContended
}

func (d *Desk) conclude(c *Claim, b became) ([]byte, error) {
	switch b.state {
	case stateKept:
		d.counts.repeated.Add(1)
		return b.answer, nil
	case stateConflict:
		return nil, &Refused{Conflict, c.Call}
	case stateRunning:
		return nil, &Refused{Running, c.Call}
	case stateNotKept:
		return nil, &Refused{NotKept, c.Call}
	case stateElsewhere:
		return nil, &Refused{Elsewhere, c.Call}
	}
	d.counts.unknown.Add(1)
	return nil, &Refused{Unknown, c.Call}
}

// Done ends a call that was answered and booked, or of which nobody can say
// whether it was: its key stands. Who waits for it looks into the ledger.
func (d *Desk) Done(call CallID) {
	d.end(call, false)
	d.forget(call)
}

// Drop ends a call that has no answer: its key is free for another. It does not
// wait until all nodes have agreed to that.
func (d *Desk) Drop(id ID, call CallID) {
	d.end(call, true)
	d.release(id, call)
}

func (d *Desk) begin(call CallID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[call] = &running{ended: make(chan struct{})}
}

func (d *Desk) end(call CallID, nothing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.calls[call]
	if r == nil {
		r = &running{ended: make(chan struct{})}
		d.calls[call] = r
	}
	select {
	case <-r.ended:
	default:
		r.nothing = nothing
		close(r.ended)
	}
}

func (d *Desk) forget(call CallID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.calls[call]; r != nil {
		select {
		case <-r.ended:
		default:
			r.nothing = true // it was never made
			close(r.ended)
		}
		delete(d.calls, call)
	}
}

// mostGone bounds the calls that are remembered although their keys were given
// back.
const mostGone = 1 << 15

// remember keeps in mind that a call had no answer: others may ask who have seen
// its claim before it was given back, and a claim that was given up for lost may
// yet come to be. Only this node can tell them that the key is free.
func (d *Desk) remember(call CallID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = append(d.gone, call)
	if len(d.gone) > mostGone {
		delete(d.calls, d.gone[0])
		d.gone = d.gone[1:]
	}
}

func (d *Desk) running(call CallID) *running {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}
