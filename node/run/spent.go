package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
	"tollgate/limiter/budget"
	"tollgate/proxy/admin"
)

// spend answers the management API's questions about money.
type spend struct {
	query.Query
	ledger  *store.Ledger
	bank    *budget.Bank
	account *budget.Account
	node    string
	inc     uint64
	others  func() []members.Node // that have a ledger
	alive   func(id string) bool
	caller  peer.Caller
}

var _ admin.Spend = (*spend)(nil)

// Spent is what a scope has used: in its budget's window as the bank and this
// node know it, or on this node in all when since is the zero time.
func (s *spend) Spent(sc model.Scope, since time.Time) unit.Money {
	if since.IsZero() {
		return s.ledger.SpendOf(sc)
	}
	if spent, window, ok := s.account.Spent(sc); ok && window >= since.Unix() {
		return spent
	}
	if v, ok := s.bank.Look(sc, "", 0); ok && v.Window >= since.Unix() {
		return v.Settled
	}
	return 0
}

// methodSpent asks a node what it alone knows of the spend of scopes.
const methodSpent = "ledger.spent"

// spentVersion is the wire form of the two messages.
const spentVersion = 1

// spentQuestion names scopes, each with the start of a budget window (Unix
// seconds), or 0 for all time.
type spentQuestion struct {
	Version int           `json:"v"`
	Scopes  []model.Scope `json:"scopes"`
	Since   []int64       `json:"since"`
}

// spentAnswer is what one start of a node has booked: ever, or in the window
// that is open now, whether the bank has heard of it or not.
type spentAnswer struct {
	Version     int          `json:"v"`
	Incarnation uint64       `json:"incarnation"`
	Spent       []unit.Money `json:"spent"`
	// Windows are the starts of the newest windows in which calls of this start
	// were lately charged, also of budgets that are gone; none where there is none.
	// Booked are what was booked in them.
	Windows []int64      `json:"windows,omitempty"`
	Booked  []unit.Money `json:"booked,omitempty"`
}

// noWindow stands for the window of a budget that no call was charged to lately.
const noWindow = -1

// mostAsked bounds one question, and with it what an answer takes to make.
const mostAsked = 20_000

func decodeSpentQuestion(data []byte) (*spentQuestion, error) {
	var q spentQuestion
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, fmt.Errorf("read the question for spend: %w", err)
	}
	switch {
	case q.Version != spentVersion:
		return nil, fmt.Errorf("question for spend of version %d: this node knows %d", q.Version, spentVersion)
	case len(q.Scopes) != len(q.Since) || len(q.Scopes) > mostAsked:
		return nil, fmt.Errorf("question for spend with %d scopes and %d windows", len(q.Scopes), len(q.Since))
	}
	return &q, nil
}

func decodeSpentAnswer(data []byte, scopes int) (*spentAnswer, error) {
	var a spentAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("read an answer about spend: %w", err)
	}
	if a.Version != spentVersion || len(a.Spent) != scopes || len(a.Windows) != len(a.Booked) || len(a.Windows) != 0 && len(a.Windows) != scopes {
		return nil, fmt.Errorf("answer about spend of version %d with %d of %d sums and %d windows", a.Version, len(a.Spent), scopes, len(a.Windows))
	}
	return &a, nil
}

// serve answers another node.
func (s *spend) serve(_ context.Context, _ string, request []byte) ([]byte, error) {
	q, err := decodeSpentQuestion(request)
	if err != nil {
		return nil, &peer.Error{Code: "bad_request", Message: err.Error()}
	}
	return json.Marshal(s.local(q))
}

// local is what this start of this node has booked.
func (s *spend) local(q *spentQuestion) *spentAnswer {
	a := &spentAnswer{Version: spentVersion, Incarnation: s.inc, Spent: make([]unit.Money, len(q.Scopes)),
		Windows: make([]int64, len(q.Scopes)), Booked: make([]unit.Money, len(q.Scopes))}
	for i, sc := range q.Scopes {
		own, window, ok := s.account.Own(sc)
		if a.Windows[i] = noWindow; ok {
			a.Windows[i], a.Booked[i] = window, own
		}
		if q.Since[i] == 0 {
			a.Spent[i] = s.ledger.SpendOf(sc)
		} else if ok && window >= q.Since[i] {
			a.Spent[i] = own
		}
	}
	return a
}

// Everywhere asks all nodes at once. Of a budget's window the bank knows what
// has been reported to it, by nodes that are gone too; each node tells what it
// has booked, and where that is more the difference is added.
func (s *spend) Everywhere(ctx context.Context, asked []admin.Spending) ([]unit.Money, []string) {
	out := make([]unit.Money, 0, len(asked))
	var away []string
	for part := range slices.Chunk(asked, mostAsked) {
		sums, without := s.everywhere(ctx, part)
		out = append(out, sums...)
		away = append(away, without...)
	}
	slices.Sort(away)
	return out, slices.Compact(away)
}

func (s *spend) everywhere(ctx context.Context, asked []admin.Spending) (out []unit.Money, away []string) {
	q := &spentQuestion{Version: spentVersion, Scopes: make([]model.Scope, len(asked)), Since: make([]int64, len(asked))}
	for i, a := range asked {
		q.Scopes[i] = a.Scope
		if !a.Since.IsZero() {
			q.Since[i] = a.Since.Unix()
		}
	}
	answers, away := s.ask(ctx, q)
	out = make([]unit.Money, len(asked))
	for i, sc := range q.Scopes {
		v, open := s.bank.Look(sc, "", 0)
		open = open && v.Window >= q.Since[i]
		if open && q.Since[i] != 0 {
			out[i] = v.Settled
		}
		for node, a := range answers {
			booked := a.Spent[i]
			if open && q.Since[i] != 0 {
				if mine, ok := s.bank.Look(sc, budget.NodeID(node), a.Incarnation); ok {
					booked = max(0, booked-mine.Spent)
				}
			}
			out[i] = out[i].Add(booked)
		}
		if open && q.Since[i] == 0 && v.Window == 0 { // what nodes that are gone have reported
			out[i] = max(out[i], v.Settled)
		}
	}
	return out, away
}

// Before asks all nodes at once what they know of objects that bear these ids or
// bore them.
func (s *spend) Before(ctx context.Context, scopes []model.Scope) ([]admin.Before, []string) {
	out := make([]admin.Before, 0, len(scopes))
	var away []string
	for part := range slices.Chunk(scopes, mostAsked) {
		answers, without := s.ask(ctx, &spentQuestion{Version: spentVersion, Scopes: part, Since: make([]int64, len(part))})
		away = append(away, without...)
		for i, sc := range part {
			out = append(out, s.before(sc, i, answers))
		}
	}
	slices.Sort(away)
	return out, slices.Compact(away)
}

func (s *spend) before(sc model.Scope, i int, answers map[string]*spentAnswer) admin.Before {
	b := admin.Before{Window: noWindow}
	v, open := s.bank.Look(sc, "", 0)
	if open {
		b.Window, b.Counted = v.Window, v.Settled
	}
	for node, a := range answers {
		b.Spent = b.Spent.Add(a.Spent[i])
		if len(a.Windows) == 0 { // of a release that does not tell
			continue
		}
		b.Window = max(b.Window, a.Windows[i])
		if open && a.Windows[i] == v.Window {
			mine, _ := s.bank.Look(sc, budget.NodeID(node), a.Incarnation)
			b.Counted = b.Counted.Add(max(0, a.Booked[i]-mine.Spent))
		}
	}
	return b
}

// ask puts a question to every node with a ledger, this one included.
func (s *spend) ask(ctx context.Context, q *spentQuestion) (answers map[string]*spentAnswer, away []string) {
	answers = map[string]*spentAnswer{s.node: s.local(q)}
	others := s.others()
	if len(others) == 0 {
		return answers, nil
	}
	request, err := json.Marshal(q)
	if err != nil { // plain data
		panic(err)
	}
	var mu sync.Mutex // guards answers and away
	var wg sync.WaitGroup
	for _, n := range others {
		if !s.alive(n.ID) { // waiting for it would only cost the caller time
			mu.Lock()
			away = append(away, n.Name)
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			var a *spentAnswer
			raw, err := s.caller.Call(ctx, n.ID, methodSpent, request)
			if err == nil {
				a, err = decodeSpentAnswer(raw, len(q.Scopes))
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				away = append(away, n.Name)
				return
			}
			answers[n.ID] = a
		})
	}
	wg.Wait()
	return answers, away
}

// openSpend makes the answers to questions about money, this node's own and
// other nodes'.
func (n *node) openSpend(books query.Query) *spend {
	s := &spend{
		Query: books, ledger: n.ledger, bank: n.bank, account: n.account, node: n.identity.NodeID, inc: n.identity.Incarnation,
		alive: n.place.alive, caller: n.port, others: n.otherLedgers,
	}
	n.port.Handle(methodSpent, s.serve)
	return s
}

// otherLedgers are the other members that take calls.
func (n *node) otherLedgers() []members.Node {
	var out []members.Node
	for _, m := range n.cluster.Membership().Nodes() {
		if m.ID != n.identity.NodeID && m.Role != members.RoleWitness {
			out = append(out, m)
		}
	}
	return out
}
