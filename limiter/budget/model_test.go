package budget_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An explicit-state search of the budget protocol: two nodes, unit
// reservations that turn out to cost nothing or one. A message that was sent
// stays in the network for ever and may be delivered any number of times in any
// order, so every loss, repeat and reordering is explored; nodes crash and
// restart; one window ends. Standing shares are one unit a node.
//
// The mutants break one rule each. They prove that the search can fail.

type rules struct {
	limit, admissions, starts, messages int8

	shares      bool // standing shares on
	noIntent    bool // mutant: intents do not survive a crash
	delta       bool // mutant: a grant says how much more, not how much in all
	noFence     bool // mutant: a closed start may still report
	reclaim     bool // mutant: the bank takes a silent node's credit back unasked
	noWindowTag bool // mutant: credit is not bound to the window it was granted in
	shareAgain  bool // mutant: a restarted node gets a share besides its old one
}

// The kinds of messages.
const (
	msgAsk byte = iota
	msgGrant
	msgClose
)

// msg is one message of the model; a is S or G, r and want as in an Item.
type msg struct {
	kind          byte
	n, inc, ep    int8
	amount, r, wt int8
}

type modelLease struct {
	g, s, r int8
	closed  bool
}

type modelNode struct {
	up         bool
	inc, ep    int8
	g, s, r    int8
	held, real int8 // reservations, and how many of them will cost one
	settled    int8 // in the ledger, for this start and window
	intents    int8 // in the ledger
}

type modelState struct {
	bank  [2][2][3]modelLease // window, node, start
	cur   int8
	reg   [2]int8
	node  [2]modelNode
	spent [2]int8 // in truth, by window
	adm   int8
}

type world2 struct {
	modelState
	net string // sorted, one fixed-size chunk a message
}

const msgSize = 7

func (w *world2) has(m msg) bool {
	c := m.bytes()
	for i := 0; i < len(w.net); i += msgSize {
		if w.net[i:i+msgSize] == c {
			return true
		}
	}
	return false
}

func (m msg) bytes() string {
	return string([]byte{m.kind, byte(m.n), byte(m.inc), byte(m.ep), byte(m.amount), byte(m.r), byte(m.wt)})
}

func (w *world2) send(m msg) {
	if w.has(m) {
		return
	}
	all := []string{m.bytes()}
	for i := 0; i < len(w.net); i += msgSize {
		all = append(all, w.net[i:i+msgSize])
	}
	slices.Sort(all)
	w.net = strings.Join(all, "")
}

func (w *world2) messages() []msg {
	var ms []msg
	for i := 0; i < len(w.net); i += msgSize {
		c := w.net[i : i+msgSize]
		ms = append(ms, msg{c[0], int8(c[1]), int8(c[2]), int8(c[3]), int8(c[4]), int8(c[5]), int8(c[6])})
	}
	return ms
}

func (w *world2) free(r *rules) int8 {
	t := r.limit
	for n := range w.bank[w.cur] {
		for _, l := range w.bank[w.cur][n] {
			t -= max(l.g-l.r, l.s)
		}
	}
	return t
}

func (w *world2) share(r *rules, n int) {
	if r.shares && r.limit >= 2 {
		w.bank[w.cur][n][w.reg[n]].g++
	}
}

// next yields every state one step away.
func (w world2) next(r *rules, yield func(world2)) {
	step := func(f func(c *world2)) {
		c := w
		f(&c)
		yield(c)
	}
	room := int8(len(w.net)/msgSize) < r.messages
	for i := range w.node {
		n, nd := int8(i), w.node[i]
		if !nd.up {
			if nd.inc+1 < r.starts && room {
				step(func(c *world2) { c.restart(r, i) })
			}
			continue
		}
		free := nd.g - nd.r - nd.s - nd.held
		if room && nd.g < r.limit {
			m := msg{msgAsk, n, nd.inc, nd.ep, nd.s, nd.r, nd.g + 1}
			if !w.has(m) {
				step(func(c *world2) { c.send(m) })
			}
		}
		if free >= 1 && w.adm < r.admissions {
			for real := range int8(2) {
				step(func(c *world2) {
					x := &c.node[i]
					x.held, x.real = x.held+1, x.real+real
					c.spent[x.ep] += real
					c.adm++
					if !r.noIntent {
						x.intents++
					}
				})
			}
		}
		for cost := range int8(2) {
			if cost == 1 && nd.real == 0 || cost == 0 && nd.real >= nd.held {
				continue
			}
			step(func(c *world2) {
				x := &c.node[i]
				x.held, x.real = x.held-1, x.real-cost
				x.s, x.settled = x.s+cost, x.settled+cost
				x.intents = max(0, x.intents-1)
			})
		}
		if free >= 1 {
			step(func(c *world2) { c.node[i].r++ })
		}
		if l := w.bank[w.cur][i][nd.inc]; nd.ep == w.cur && l.g > nd.g {
			step(func(c *world2) { c.node[i].g = l.g }) // reads its own copy of the bank
		}
		step(func(c *world2) {
			x := &c.node[i]
			*x = modelNode{inc: x.inc, ep: x.ep, settled: x.settled, intents: x.intents}
		})
		if w.cur > nd.ep && nd.held == 0 && room {
			step(func(c *world2) {
				x := &c.node[i]
				c.send(msg{msgAsk, n, x.inc, x.ep, x.s, x.r, x.g})
				*x = modelNode{up: true, inc: x.inc, ep: c.cur}
			})
		}
	}
	for _, m := range w.messages() {
		step(func(c *world2) { c.deliver(r, m) })
	}
	if w.cur == 0 {
		step(func(c *world2) {
			c.cur = 1
			c.share(r, 0)
			c.share(r, 1)
		})
	}
	if r.reclaim {
		for n := range w.node {
			for i := range w.bank[w.cur][n] {
				if l := w.bank[w.cur][n][i]; l.g-l.r > l.s && !l.closed {
					step(func(c *world2) {
						l := &c.bank[c.cur][n][i]
						l.r, l.closed = l.g-l.s, true
					})
				}
			}
		}
	}
}

// restart registers the new start, which is answered before anything else is
// done, and sends the ledger's word on the old one.
func (w *world2) restart(r *rules, n int) {
	x := &w.node[n]
	w.send(msg{msgClose, int8(n), x.inc, x.ep, x.settled + x.intents, 0, 0})
	*x = modelNode{up: true, inc: x.inc + 1, ep: w.cur}
	w.reg[n] = x.inc
	if r.shareAgain {
		w.share(r, n)
	}
}

func (w *world2) deliver(r *rules, m msg) {
	l := &w.bank[m.ep][m.n][m.inc]
	switch m.kind {
	case msgClose:
		if !l.closed {
			l.s = max(l.s, m.amount)
			l.r, l.closed = max(l.r, l.g-l.s), true
		}
	case msgAsk:
		if l.closed && !r.noFence {
			return
		}
		l.s, l.r = max(l.s, m.amount), max(l.r, m.r)
		g := l.g
		if m.ep == w.cur && (r.noFence || w.reg[m.n] == m.inc && !l.closed) {
			switch free := w.free(r); {
			case r.delta && free >= 1:
				l.g++
				g = 1
			case r.delta:
				g = 0
			case m.wt > l.g && free >= m.wt-l.g:
				l.g = m.wt
				g = l.g
			}
		}
		w.send(msg{msgGrant, m.n, m.inc, m.ep, g, 0, 0})
	case msgGrant:
		x := &w.node[m.n]
		if !x.up || x.inc != m.inc || (x.ep != m.ep && !r.noWindowTag) {
			return
		}
		if r.delta {
			x.g += m.amount
		} else {
			x.g = max(x.g, m.amount)
		}
	}
}

func (w *world2) fault(r *rules) string {
	for e := range w.spent {
		if w.spent[e] > r.limit {
			return "spent more than the limit"
		}
		out := int8(0)
		for n := range w.bank[e] {
			for _, l := range w.bank[e][n] {
				out += l.g - l.r
			}
		}
		if out > r.limit {
			return "granted more than the limit"
		}
	}
	return ""
}

// search explores everything within the bounds and returns the first fault.
func search(r rules) (states int, fault string) {
	var first world2
	for n := range first.node {
		first.node[n].up = true
		first.share(&r, n)
	}
	seen := map[world2]struct{}{first: {}}
	todo := []world2{first}
	for len(todo) > 0 && fault == "" {
		w := todo[0]
		todo = todo[1:]
		w.next(&r, func(c world2) {
			if _, old := seen[c]; old || fault != "" {
				return
			}
			seen[c] = struct{}{}
			if fault = c.fault(&r); fault == "" {
				todo = append(todo, c)
			}
		})
	}
	return len(seen), fault
}

// bounds are small for every run; TOLLGATE_MODEL=large is for the night.
func bounds(r rules) rules {
	r.limit, r.admissions, r.starts, r.messages = 2, 3, 2, 5
	if r.shares { // without an ask there is already something to lose
		r.messages = 2
	}
	if os.Getenv("TOLLGATE_MODEL") == "large" {
		r.admissions++
		r.messages++
	}
	return r
}

func TestModelHasNoOverspendInAnyState(t *testing.T) {
	for name, r := range map[string]rules{
		"plain":           {},
		"standing shares": {shares: true},
		// Only strands credit, so the check is hygiene; it must stay harmless.
		"closed starts may report": {noFence: true},
	} {
		t.Run(name, func(t *testing.T) {
			states, fault := search(bounds(r))
			require.Empty(t, fault)
			require.Greater(t, states, 1000)
			t.Logf("%d states", states)
		})
	}
}

func TestModelFindsEveryMutant(t *testing.T) {
	for name, r := range map[string]rules{
		"intents not durable":     {noIntent: true},
		"grants as differences":   {delta: true},
		"credit reclaimed unsaid": {reclaim: true},
		"credit without a window": {noWindowTag: true},
		"a share at each restart": {shares: true, shareAgain: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := bounds(r)
			r.messages = 6 // it is found long before these are explored
			_, fault := search(r)
			require.NotEmpty(t, fault)
		})
	}
}
