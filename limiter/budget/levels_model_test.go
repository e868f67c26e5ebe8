package budget_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The same search over two levels: calls of a key in a team need a unit of both
// budgets. The account takes them under all its locks; here it takes the key's
// first and the team's later, which allows for more than the account does: what
// it takes must go back when the other refuses. Shares are handed out when the
// budgets are made, and an operator may forget a node that goes on.

type levelRules struct {
	limit                        [2]int8 // of the key, of the team
	admissions, starts, messages int8

	shares bool // standing shares on
	given  bool // the first node was granted everything
	forget bool // one node may be forgotten, and not know

	noPutBack   bool // mutant: what a refused call took of the key stays taken
	putBackBoth bool // mutant: a refusal gives back the team's unit too, which was not taken
	keyOnly     bool // mutant: only the key's credit is looked at
	settleKey   bool // mutant: a cost counts for the key alone
	intentKey   bool // mutant: after a crash calls in flight count for the key alone
	freeShare   bool // mutant: the bank hands out shares without counting them
	keptShare   bool // mutant: a restarted node goes on with the share of its former start
	forgetFree  bool // mutant: what a forgotten node held is handed out again
}

type levelNode struct {
	up        bool
	inc       int8
	g, s, r   [2]int8
	held      [2]int8
	pend      bool    // a call has the key's unit and not yet the team's
	calls     [2]int8 // in flight, by what they will cost
	settled   [2]int8 // in the ledger, of this start
	intents   [2]int8 // in the ledger
	forgotten bool
}

type levelState struct {
	bank  [2][2][2]modelLease // level, node, start
	reg   [2]int8
	node  [2]levelNode
	spent [2]int8 // in truth
	adm   int8
}

// levelMsg is one message: an ask or a grant of a level, or the ledger's word on
// a former start, which has both levels.
type levelMsg struct {
	kind, level   byte
	n, inc        int8
	amount, r, wt int8
}

const levelMsgSize = 7

func (m levelMsg) bytes() string {
	return string([]byte{m.kind, m.level, byte(m.n), byte(m.inc), byte(m.amount), byte(m.r), byte(m.wt)})
}

type levelWorld struct {
	levelState
	net string // sorted, one chunk a message
}

func (w *levelWorld) messages() []levelMsg {
	var ms []levelMsg
	for i := 0; i < len(w.net); i += levelMsgSize {
		c := w.net[i : i+levelMsgSize]
		ms = append(ms, levelMsg{c[0], c[1], int8(c[2]), int8(c[3]), int8(c[4]), int8(c[5]), int8(c[6])})
	}
	return ms
}

func (w *levelWorld) has(m levelMsg) bool {
	c := m.bytes()
	for i := 0; i < len(w.net); i += levelMsgSize {
		if w.net[i:i+levelMsgSize] == c {
			return true
		}
	}
	return false
}

func (w *levelWorld) send(m levelMsg) {
	if w.has(m) {
		return
	}
	all := []string{m.bytes()}
	for i := 0; i < len(w.net); i += levelMsgSize {
		all = append(all, w.net[i:i+levelMsgSize])
	}
	slices.Sort(all)
	w.net = strings.Join(all, "")
}

func (w *levelWorld) free(r *levelRules, level int) int8 {
	t := r.limit[level]
	for n := range w.bank[level] {
		for _, l := range w.bank[level][n] {
			t -= max(l.g-l.r, l.s)
		}
	}
	return t
}

func (x *levelNode) free(level int) int8 { return x.g[level] - x.r[level] - x.s[level] - x.held[level] }

// next yields every state one step away.
func (w levelWorld) next(r *levelRules, yield func(levelWorld)) {
	step := func(f func(c *levelWorld)) {
		c := w
		f(&c)
		yield(c)
	}
	room := int8(len(w.net)/levelMsgSize) < r.messages
	for i := range w.node {
		nd := w.node[i]
		if !nd.up {
			if nd.inc+1 < r.starts && room {
				step(func(c *levelWorld) { c.restart(r, i) })
			}
			continue
		}
		for level := range 2 {
			m := levelMsg{msgAsk, byte(level), int8(i), nd.inc, nd.s[level], nd.r[level], nd.g[level] + 1}
			if room && nd.g[level] < r.limit[level] && !w.has(m) {
				step(func(c *levelWorld) { c.send(m) })
			}
			if nd.free(level) >= 1 {
				step(func(c *levelWorld) { c.node[i].r[level]++ })
			}
			if l := w.bank[level][i][nd.inc]; l.g > nd.g[level] {
				step(func(c *levelWorld) { c.node[i].g[level] = l.g }) // reads its own copy of the bank
			}
		}
		w.calls(r, i, step)
		step(func(c *levelWorld) { // crashes: the ledger is all that is left
			x := &c.node[i]
			*x = levelNode{inc: x.inc, settled: x.settled, intents: x.intents, forgotten: x.forgotten}
		})
	}
	for _, m := range w.messages() {
		step(func(c *levelWorld) { c.deliver(r, m) })
	}
	if r.forget && !w.node[0].forgotten {
		step(func(c *levelWorld) { c.forgets(r) })
	}
}

// calls are the steps of the calls of one node.
func (w *levelWorld) calls(r *levelRules, i int, step func(func(c *levelWorld))) {
	nd := w.node[i]
	switch {
	case !nd.pend && w.adm < r.admissions && nd.free(0) >= 1:
		step(func(c *levelWorld) { c.node[i].pend, c.node[i].held[0] = true, nd.held[0]+1 })
	case nd.pend && (nd.free(1) >= 1 || r.keyOnly):
		for real := range int8(2) {
			step(func(c *levelWorld) {
				x := &c.node[i]
				x.pend, x.held[1], c.adm = false, x.held[1]+1, c.adm+1
				x.calls[real]++
				c.spent[0], c.spent[1] = c.spent[0]+real, c.spent[1]+real
				x.intents[0]++
				if !r.intentKey {
					x.intents[1]++
				}
			})
		}
	case nd.pend:
		step(func(c *levelWorld) {
			x := &c.node[i]
			x.pend = false
			if !r.noPutBack {
				x.held[0]--
			}
			if r.putBackBoth {
				x.held[1]--
			}
		})
	}
	for cost := range int8(2) {
		if nd.calls[cost] == 0 {
			continue
		}
		step(func(c *levelWorld) {
			x := &c.node[i]
			x.calls[cost]--
			for level := range 2 {
				x.held[level]--
				x.intents[level] = max(0, x.intents[level]-1)
				if level == 0 || !r.settleKey {
					x.s[level], x.settled[level] = x.s[level]+cost, x.settled[level]+cost
				}
			}
		})
	}
}

// restart registers the new start and sends the ledger's word on the old one.
func (w *levelWorld) restart(r *levelRules, n int) {
	x := &w.node[n]
	w.send(levelMsg{msgClose, 0, int8(n), x.inc, x.settled[0] + x.intents[0], x.settled[1] + x.intents[1], 0})
	*x = levelNode{up: true, inc: x.inc + 1, forgotten: x.forgotten}
	w.reg[n] = x.inc
	if r.keptShare {
		x.g = [2]int8{1, 1}
	}
}

// forgets is an operator's word that node 0 will not come back: what it held
// counts as spent. The node may well go on.
func (w *levelWorld) forgets(r *levelRules) {
	w.node[0].forgotten = true
	for level := range w.bank {
		l := &w.bank[level][0][w.reg[0]]
		if l.closed {
			continue
		}
		if !r.forgetFree {
			l.s = max(l.s, l.g-l.r)
		}
		l.r, l.closed = max(l.r, l.g-l.s), true
	}
}

func (w *levelWorld) deliver(r *levelRules, m levelMsg) {
	switch m.kind {
	case msgClose:
		for level, s := range [2]int8{m.amount, m.r} {
			if l := &w.bank[level][m.n][m.inc]; !l.closed {
				l.s = max(l.s, s)
				l.r, l.closed = max(l.r, l.g-l.s), true
			}
		}
	case msgAsk:
		l := &w.bank[m.level][m.n][m.inc]
		if l.closed {
			return
		}
		l.s, l.r = max(l.s, m.amount), max(l.r, m.r)
		if w.reg[m.n] == m.inc && m.wt > l.g && w.free(r, int(m.level)) >= m.wt-l.g {
			l.g = m.wt
		}
		w.send(levelMsg{msgGrant, m.level, m.n, m.inc, l.g, 0, 0})
	case msgGrant:
		if x := &w.node[m.n]; x.up && x.inc == m.inc {
			x.g[m.level] = max(x.g[m.level], m.amount)
		}
	}
}

func (w *levelWorld) fault(r *levelRules) string {
	for level, name := range [2]string{"key", "team"} {
		if w.spent[level] > r.limit[level] {
			return "the " + name + " has spent more than its limit"
		}
		out := int8(0)
		for n := range w.bank[level] {
			for _, l := range w.bank[level][n] {
				out += l.g - l.r
			}
		}
		if out > r.limit[level] {
			return "more is granted of the " + name + " than its limit"
		}
	}
	for i := range w.node {
		x := &w.node[i]
		if !x.up {
			continue
		}
		calls := x.calls[0] + x.calls[1]
		if x.held[1] != calls || x.pend && x.held[0] != calls+1 || !x.pend && x.held[0] != calls {
			return "what is held is not what calls in flight hold"
		}
	}
	return ""
}

// begin is the state after the budgets were made.
func (r *levelRules) begin() levelWorld {
	var w levelWorld
	for n := range w.node {
		w.node[n].up = true
		for level := range 2 {
			if r.given && n == 0 {
				w.bank[level][n][0].g, w.node[n].g[level] = r.limit[level], r.limit[level]
			}
			switch {
			case !r.shares || r.limit[level] < 2:
			case r.freeShare:
				w.node[n].g[level] = 1
			default:
				w.bank[level][n][0].g = 1
			}
		}
	}
	return w
}

// levelSearch explores everything within the bounds and returns the first fault.
// In depth it comes to the far states first: a fault is found sooner, all of them
// take as long.
func levelSearch(r levelRules) (states int, fault string) {
	first := r.begin()
	seen := map[levelWorld]struct{}{first: {}}
	todo := []levelWorld{first}
	for len(todo) > 0 && fault == "" {
		w := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		w.next(&r, func(c levelWorld) {
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

// levelBounds are small for every run, smaller still in a short one;
// TOLLGATE_MODEL=large is for the night.
func levelBounds(r levelRules) levelRules {
	r.admissions, r.starts, r.messages = 2, 2, 3
	if r.shares {
		r.messages = 2
	}
	if testing.Short() {
		r.messages--
	}
	if os.Getenv("TOLLGATE_MODEL") == "large" {
		r.admissions, r.messages = r.admissions+1, r.messages+1
	}
	return r
}

func TestModelOfTwoLevelsOverspendsNeitherAndLeaksNothing(t *testing.T) {
	for name, r := range map[string]levelRules{
		"the team is the tighter one":     {limit: [2]int8{2, 1}},
		"the key is the tighter one":      {limit: [2]int8{1, 2}},
		"standing shares":                 {limit: [2]int8{2, 2}, shares: true},
		"shares, and a node is forgotten": {limit: [2]int8{2, 2}, shares: true, forget: true},
	} {
		t.Run(name, func(t *testing.T) {
			states, fault := levelSearch(levelBounds(r))
			require.Empty(t, fault)
			require.Greater(t, states, 500)
			t.Logf("%d states", states)
		})
	}
}

func TestModelOfTwoLevelsFindsEveryMutant(t *testing.T) {
	for name, r := range map[string]levelRules{
		"a refusal puts nothing back":         {limit: [2]int8{2, 1}, noPutBack: true},
		"a refusal puts back what it had not": {limit: [2]int8{2, 1}, putBackBoth: true},
		"only the key is looked at":           {limit: [2]int8{2, 1}, keyOnly: true},
		"a cost counts for the key alone":     {limit: [2]int8{2, 1}, settleKey: true},
		"intents name the key alone":          {limit: [2]int8{2, 1}, given: true, intentKey: true},
		"shares beside the books":             {limit: [2]int8{2, 2}, shares: true, freeShare: true},
		"a restart keeps the share":           {limit: [2]int8{2, 2}, shares: true, keptShare: true},
		"a forgotten node's credit is reused": {limit: [2]int8{2, 2}, shares: true, forget: true, forgetFree: true},
	} {
		if testing.Short() && r.shares {
			continue // some seconds each
		}
		t.Run(name, func(t *testing.T) {
			r := levelBounds(r)
			r.admissions, r.messages = 3, 5 // it is found long before all these are explored
			states, fault := levelSearch(r)
			require.NotEmpty(t, fault)
			t.Logf("%s, after %d states", fault, states)
		})
	}
}
