package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/sim"
	"tollgate/ledger/once"
	"tollgate/ledger/store"
)

// callBook is what a machine's ledger knows of calls. It outlives the node.
type callBook struct {
	mu      sync.Mutex // guards all below
	last    uint64
	entries []*store.Entry
	open    []*store.Entry // begun and not settled
}

var _ once.Books = (*callBook)(nil)

// restart books what the start before has left open at its maximum.
func (b *callBook) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.open {
		b.add(e, store.Interrupted, nil)
	}
	b.open = nil
}

func (b *callBook) begin(call once.CallID) *store.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &store.Entry{CallID: call, Start: time.Now()}
	b.open = append(b.open, e)
	return e
}

// settle books a call that this start began.
func (b *callBook) settle(e *store.Entry, status string, answer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.open {
		if o == e {
			b.open = append(b.open[:i], b.open[i+1:]...)
			b.add(e, status, answer)
			return
		}
	}
}

func (b *callBook) add(e *store.Entry, status string, answer []byte) {
	b.last++
	e.Seq, e.Status, e.Answer, e.End = b.last, status, answer, time.Now()
	b.entries = append(b.entries, e)
}

func (b *callBook) CatchUp() error { return nil }

func (b *callBook) ByCall(id once.CallID) (*store.Entry, error) {
	return b.find(func(e *store.Entry) bool { return e.CallID == id }), nil
}

func (b *callBook) Get(seq uint64) (*store.Entry, error) {
	return b.find(func(e *store.Entry) bool { return e.Seq == seq }), nil
}

func (b *callBook) LoadAnswer(seq uint64) ([]byte, error) {
	if e := b.find(func(e *store.Entry) bool { return e.Seq == seq }); e != nil {
		return e.Answer, nil
	}
	return nil, nil
}

func (b *callBook) FirstSeq() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) == 0 {
		return 0, nil
	}
	return b.entries[0].Seq, nil
}

func (b *callBook) find(is func(*store.Entry) bool) *store.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if is(e) {
			found := *e
			return &found
		}
	}
	return nil
}

var errNoClaim = errors.New("no answer of the claims")

// claimAnswers carry the answers to claims between nodes.
var claimAnswers = cluster.AnswerCodec{
	Encode: func(answer any) ([]byte, error) {
		a, ok := answer.(*once.Answer)
		if !ok {
			return nil, errNoClaim
		}
		return once.AppendAnswer(nil, a), nil
	},
	Decode:     func(data []byte) (any, error) { return once.DecodeAnswer(data) },
	Repeatable: true,
	Ahead:      true,
}

// openDesk joins calls with an Idempotency-Key to the cluster as a real node does,
// but for copies of ledgers.
func (r *run) openDesk(h *host, life *sim.Life) {
	r.desk = once.NewDesk(once.Config{
		Node: h.id, Incarnation: h.starts, Ledger: &h.calls,
		Propose: r.proposeClaims, Agreed: func() bool { return r.Feature() >= cluster.FeatureClaims },
		Ask: func(ctx context.Context, to string, payload []byte) ([]byte, error) {
			return life.Calls().Call(ctx, to, once.Method, payload)
		},
		Copies: func(context.Context, string, once.CallID) (string, []byte, bool) { return "", nil, false },
	})
	life.Registrar().Handle(once.Method, r.desk.Serve)
}

func (r *run) proposeClaims(ctx context.Context, payload []byte) (*once.Answer, error) {
	answer, _, err := r.Submit(ctx, command.Claims, once.Version, payload)
	if err != nil {
		return nil, fmt.Errorf("agree on claims: %w", err)
	}
	a, ok := answer.(*once.Answer)
	if !ok {
		return nil, errNoClaim
	}
	return a, nil
}

// calling is what clients with keys see, and the provider.
type calling struct {
	w *world

	mu      sync.Mutex // guards all below
	calls   int
	made    map[string]int // times that a provider may have answered a call with the key
	twice   []string       // keys of which that is more than one
	wrong   []string       // repeated calls with another answer than the first
	repeats int
	unknown int
}

func newCalling(w *world) *calling { return &calling{w: w, made: map[string]int{}} }

// take sends a call with a key through a node. fails says that the provider gives
// no answer, lasts how long it takes.
func (c *calling) take(h *host, key string, fails bool, lasts time.Duration) (answer []byte, err error) {
	r := h.current()
	if r == nil {
		return nil, errors.New("down")
	}
	c.mu.Lock()
	c.calls++
	var call once.CallID
	copy(call[:], fmt.Sprintf("call-%011d", c.calls))
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	id := once.IDOf("caller", key)
	want := []byte("answer to " + key)
	answer, err = r.desk.Take(ctx, id, once.SumOf("/chat", []byte(key)), call)
	var no *once.Refused
	switch {
	case errors.As(err, &no) && no.Why == once.Unknown:
		c.mu.Lock()
		c.unknown++
		c.mu.Unlock()
		return nil, err
	case err != nil:
		return nil, err
	case answer != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.repeats++
		if string(answer) != string(want) || c.made[key] != 1 {
			c.wrong = append(c.wrong, fmt.Sprintf("%s: %q after %d calls", key, answer, c.made[key]))
		}
		return answer, nil
	}
	if h.current() != r {
		return nil, errors.New("ended before the call was begun")
	}
	e := h.calls.begin(call)
	c.mu.Lock()
	if c.made[key]++; c.made[key] > 1 {
		c.twice = append(c.twice, fmt.Sprintf("%s through %s", key, h.name))
	}
	c.mu.Unlock()
	time.Sleep(lasts)
	switch {
	case h.current() != r: // what is left of it is booked by the next start
		return nil, errors.New("ended with the call")
	case fails:
		c.mu.Lock()
		c.made[key]--
		c.mu.Unlock()
		h.calls.settle(e, store.Failure, nil)
		r.desk.Drop(id, call)
		return nil, errors.New("the provider failed")
	}
	h.calls.settle(e, store.Success, want)
	r.desk.Done(call)
	return want, nil
}
