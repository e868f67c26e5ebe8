package budget_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

var errLost = errors.New("lost")

// lossyNet carries proposals to one bank: some are lost before they commit,
// some after, some commit again much later, in any order.
type lossyNet struct {
	w    *world
	rng  *rand.Rand
	mu   sync.Mutex
	loss int // percent, each way
}

func (n *lossyNet) draw(k int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(k)
}

func (n *lossyNet) setLoss(p int) {
	n.mu.Lock()
	n.loss = p
	n.mu.Unlock()
}

func (n *lossyNet) hit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(100) < n.loss
}

func (n *lossyNet) apply(p []byte) *budget.Answer {
	n.w.locked.Lock()
	defer n.w.locked.Unlock()
	return n.w.bank.Apply(1, time.Now(), budget.Version, p).(*budget.Answer)
}

func (n *lossyNet) propose(ctx context.Context, p []byte) (*budget.Answer, error) {
	time.Sleep(time.Duration(1+n.draw(60)) * time.Millisecond)
	if n.hit() {
		return nil, errLost
	}
	p = append([]byte(nil), p...)
	ans := n.apply(p)
	if n.hit() { // repeated later, by a leader that did not know
		time.AfterFunc(time.Duration(n.draw(20_000))*time.Millisecond, func() { n.apply(p) })
	}
	time.Sleep(time.Duration(1+n.draw(60)) * time.Millisecond)
	if n.hit() {
		return nil, errLost
	}
	wire, err := budget.DecodeAnswer(budget.AppendAnswer(nil, ans))
	if err != nil {
		return nil, err
	}
	return wire, ctx.Err()
}

// books is one node's ledger: what survives its process.
type books struct {
	mu      sync.Mutex
	settled map[budget.Settled]unit.Money // S zero in the key
	intents map[*budget.Hold]intent
}

type intent struct {
	key budget.Settled
	max unit.Money
}

// start is one process of a node.
type start struct {
	inc     uint64
	account *budget.Account
	stop    func()
	dead    bool
}

// fleet is two nodes, their ledgers and the truth about money.
type fleet struct {
	t     failer
	w     *world
	net   *lossyNet
	c     budget.Charge
	mu    sync.Mutex
	nodes [2]*start
	books [2]*books
	truth map[int64]unit.Money // spent in truth, by window
}

type failer interface {
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func id(n int) budget.NodeID { return budget.NodeID(fmt.Sprint("node", n)) }

func (f *fleet) boot(ctx context.Context, n int, inc uint64) {
	f.books[n].mu.Lock()
	sums := map[budget.Settled]unit.Money{}
	for k, v := range f.books[n].settled {
		sums[k] += v
	}
	for _, in := range f.books[n].intents {
		sums[in.key] += in.max
	}
	// What recovery charges is settled from now on.
	f.books[n].settled, f.books[n].intents = sums, map[*budget.Hold]intent{}
	f.books[n].mu.Unlock()
	look := func(s model.Scope) (budget.View, bool) { return f.w.bank.Look(s, id(n), inc) }
	if n == 1 {
		look = nil // a node without a local copy must be right as well
	}
	a, err := budget.NewAccount(budget.Config{Node: id(n), Incarnation: inc, Propose: f.net.propose, Look: look})
	if err != nil {
		f.t.Fatalf("%v", err)
	}
	if err := a.Start(ctx, budget.Recovery{Settled: func(yield func(budget.Settled) bool) {
		for k, s := range sums {
			k.S = s
			if !yield(k) {
				return
			}
		}
	}}); err != nil {
		f.t.Fatalf("%v", err)
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); a.Run(run) }()
	f.mu.Lock()
	f.nodes[n] = &start{inc: inc, account: a, stop: func() { cancel(); <-done }}
	f.mu.Unlock()
}

// call is one request from admission to settlement, with its intent. A call
// whose process dies has still cost what it cost.
func (f *fleet) call(ctx context.Context, n int, max, cost unit.Money, lasts time.Duration) bool {
	f.mu.Lock()
	s, b := f.nodes[n], f.books[n]
	dead := s.dead
	f.mu.Unlock()
	h := &budget.Hold{}
	if dead || s.account.Reserve(ctx, []budget.Charge{f.c}, max, max, h) != nil {
		return false
	}
	sc, win := h.Window(0)
	key := budget.Settled{Incarnation: s.inc, Scope: sc, Window: win}
	f.mu.Lock()
	if s.dead {
		f.mu.Unlock()
		return false
	}
	b.mu.Lock()
	b.intents[h] = intent{key, max}
	b.mu.Unlock()
	f.truth[win] += cost
	if f.truth[win] > f.c.Def.Limit {
		f.t.Errorf("window %d: spent %s of %s", win, f.truth[win], f.c.Def.Limit)
	}
	f.mu.Unlock()
	time.Sleep(lasts)
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.dead {
		return true
	}
	b.mu.Lock()
	delete(b.intents, h)
	b.settled[key] += cost
	b.mu.Unlock()
	s.account.Settle(h, cost)
	return true
}

// crash stops a process where it stands and starts the next.
func (f *fleet) crash(ctx context.Context, n int) {
	f.mu.Lock()
	s := f.nodes[n]
	s.dead = true
	f.mu.Unlock()
	s.stop()
	f.boot(ctx, n, s.inc+1)
}

func (f *fleet) booked(win int64) unit.Money {
	sum := unit.Money(0)
	for _, b := range f.books {
		b.mu.Lock()
		for k, s := range b.settled {
			if k.Window == win {
				sum += s
			}
		}
		b.mu.Unlock()
	}
	return sum
}

func TestPropNoOverspendThroughLossRepeatReorderAndCrash(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		loss := rapid.SampledFrom([]int{0, 5, 30}).Draw(rt, "loss")
		window := rapid.SampledFrom([]unit.Window{{}, {N: 1, Unit: "m"}, {N: 20, Unit: "s"}}).Draw(rt, "window")
		limit := rapid.SampledFrom([]unit.Money{10, 37, 1000}).Draw(rt, "limit") * cent
		steps := rapid.IntRange(10, 120).Draw(rt, "steps")
		defer func() {
			if t.Failed() {
				t.Logf("lossyRun(t, %d, %d, %+v, %d, %d)", seed, loss, window, limit, steps)
				rt.FailNow()
			}
		}()
		synctest.Test(t, func(t *testing.T) { lossyRun(t, seed, loss, window, limit, steps) })
	})
}

func lossyRun(t failer, seed uint64, loss int, win unit.Window, limit unit.Money, steps int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := &fleet{t: t, w: newWorld(), truth: map[int64]unit.Money{}}
	f.net = &lossyNet{w: f.w, rng: rand.New(rand.NewPCG(seed, 1)), loss: loss}
	f.c = f.w.set(scope("k"), model.BudgetDef{Limit: limit, Window: win})
	for n := range f.books {
		f.books[n] = &books{settled: map[budget.Settled]unit.Money{}, intents: map[*budget.Hold]intent{}}
		f.boot(ctx, n, 1)
	}
	f.w.bank.Watch(func(n budget.Notice) {
		f.mu.Lock()
		a := [2]*budget.Account{f.nodes[0].account, f.nodes[1].account}
		f.mu.Unlock()
		a[0].Observe(n)
		a[1].Observe(n)
	})
	var calls sync.WaitGroup
	for range steps {
		time.Sleep(time.Duration(f.net.draw(1500)) * time.Millisecond)
		n := f.net.draw(2)
		if f.net.draw(12) == 0 {
			f.crash(ctx, n)
			continue
		}
		for range 1 + f.net.draw(4) {
			m := cent + unit.Money(f.net.draw(int(4*cent)))
			cost := m
			if f.net.draw(3) > 0 {
				cost = unit.Money(f.net.draw(int(m)))
			}
			lasts := time.Duration(f.net.draw(4000)) * time.Millisecond
			calls.Go(func() { f.call(ctx, n, m, cost, lasts) })
		}
	}
	calls.Wait()
	f.net.setLoss(0)
	time.Sleep(2 * time.Minute)
	f.settle(ctx, limit)
	for _, s := range f.nodes {
		s.stop()
	}
	time.Sleep(time.Minute) // the last repeats fall due
}

// settle checks, in a quiet network, that nothing has leaked: what is left of
// the window can be spent to the end, on either node, and the bank's figure is
// the ledgers'.
func (f *fleet) settle(ctx context.Context, limit unit.Money) {
	for n := range f.nodes {
		a := f.nodes[n].account
		a.Settle(f.must(ctx, a, 0), 0) // brings both to the current window
	}
	time.Sleep(time.Second)
	for n := range f.nodes {
		a := f.nodes[n].account
		h := f.must(ctx, a, 0)
		if h.Len() == 0 {
			continue
		}
		_, win := h.Window(0)
		a.Settle(h, 0)
		left := limit - f.booked(win)
		if left <= 0 {
			continue
		}
		h = f.must(ctx, a, left)
		_, now := h.Window(0)
		a.Settle(h, 0)
		if now != win {
			continue
		}
		time.Sleep(15 * time.Second)
		if v, ok := f.w.bank.Look(f.c.Scope, id(n), f.nodes[n].inc); ok && v.Window == win && v.Settled != f.booked(win) {
			f.t.Errorf("bank says %s, ledgers say %s", v.Settled, f.booked(win))
		}
	}
}

func (f *fleet) must(ctx context.Context, a *budget.Account, m unit.Money) *budget.Hold {
	h := &budget.Hold{}
	err := a.Reserve(ctx, []budget.Charge{f.c}, m, m, h)
	var no *budget.Exhausted
	if errors.As(err, &no) && no.Spent >= no.Limit {
		v, _ := f.w.bank.Look(f.c.Scope, "", 0)
		if b := f.booked(v.Window); b != no.Spent {
			f.t.Errorf("refused at %s spent, ledgers say %s", no.Spent, b)
		}
		return h
	}
	if err != nil {
		_, users, _ := f.w.bank.Explain(f.c.Scope)
		f.t.Fatalf("%s refused in a quiet network: %v; bank: %+v", m, err, users)
	}
	return h
}
