package run

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/budget"
	"tollgate/proxy/admin"
)

// purses are the ledgers and accounts of three nodes over one bank.
type purses struct {
	bank  *budget.Bank
	nodes map[string]*spend
	dead  map[string]bool // as gossip knows
	gone  map[string]bool // that do not answer
	off   atomic.Bool     // the budget's owner was deleted
}

var (
	budgeted = model.Scope{Dim: model.DimKey, ID: "k"}
	plain    = model.Scope{Dim: model.DimEndUser, ID: "c"}
	today    = time.Now().UTC().Truncate(24 * time.Hour)
)

func newPurses(t *testing.T) *purses {
	day, err := unit.ParseWindow("1d")
	require.NoError(t, err)
	p := &purses{nodes: map[string]*spend{}, dead: map[string]bool{}, gone: map[string]bool{}}
	p.bank = budget.NewBank(func(sc model.Scope) (model.BudgetDef, bool) {
		return model.BudgetDef{Limit: 1000 * unit.Dollar, Window: day}, sc == budgeted && !p.off.Load()
	}, nil)
	var one sync.Mutex
	for _, id := range []string{"a", "b", "c"} {
		l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		account, err := budget.NewAccount(budget.Config{Node: budget.NodeID(id), Incarnation: 1,
			Propose: func(_ context.Context, payload []byte) (*budget.Answer, error) {
				one.Lock()
				defer one.Unlock()
				a := p.bank.Apply(1, time.Now(), budget.Version, payload).(*budget.Answer)
				return a, a.Err
			},
			Look: func(sc model.Scope) (budget.View, bool) { return p.bank.Look(sc, budget.NodeID(id), 1) }})
		require.NoError(t, err)
		require.NoError(t, account.Start(t.Context(), budget.Recovery{}))
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = account.Run(ctx) })
		t.Cleanup(func() { stop(); running.Wait() })
		p.nodes[id] = &spend{ledger: l, bank: p.bank, account: account, node: id, inc: 1, caller: p,
			alive: func(id string) bool { return !p.dead[id] },
			others: func() []members.Node {
				var out []members.Node
				for _, n := range []string{"a", "b", "c"} {
					if n != id {
						out = append(out, members.Node{ID: n, Name: "node-" + n})
					}
				}
				return out
			}}
	}
	return p
}

// Call is the cluster port.
func (p *purses) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	if p.gone[node] || method != methodSpent {
		return nil, errors.Join(peer.ErrUnreached, ctx.Err())
	}
	return p.nodes[node].serve(ctx, "x", request)
}

// pay is one call through a node.
func (p *purses) pay(t require.TestingT, node string, cost unit.Money) {
	n := p.nodes[node]
	var h budget.Hold
	def := model.BudgetDef{Limit: 1000 * unit.Dollar, Window: unit.Window{N: 1, Unit: "d"}}
	require.NoError(t, n.account.Reserve(context.Background(), []budget.Charge{{Scope: budgeted, Def: def}}, cost, cost, &h))
	_, window := h.Window(0)
	e := &store.Entry{CallID: store.CallID(uuid.New()), Status: store.Success, Start: time.Now(), End: time.Now(), Key: "k", EndUser: "c",
		Cost: price.Cost{Total: cost, Priced: true}, Charges: []store.Charge{{Scope: budgeted, Window: window}}}
	_, err := n.ledger.Settle(store.Ref{}, e)
	require.NoError(t, err)
	n.account.Settle(&h, cost)
}

// Whatever nodes the calls went through, and however much of it the bank has
// heard, every node shows the sum of all rows, in the window and ever.
func TestEveryNodeShowsTheSumOfAllRows(t *testing.T) {
	p := newPurses(t)
	ids := []string{"a", "b", "c"}
	total := unit.Money(0)
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(0, 5).Draw(t, "calls") {
			cost := unit.Money(rapid.Int64Range(1, 1_000_000).Draw(t, "cost"))
			p.pay(t, rapid.SampledFrom(ids).Draw(t, "through"), cost)
			total += cost
		}
		node := p.nodes[rapid.SampledFrom(ids).Draw(t, "asked")]
		got, away := node.Everywhere(context.Background(), []admin.Spending{{Scope: budgeted, Since: today}, {Scope: budgeted}, {Scope: plain}, {Scope: model.ProxyScope()}})
		if len(away) != 0 {
			t.Fatalf("away: %v", away)
		}
		for i, m := range got {
			if m != total {
				t.Fatalf("question %d: %s of %s", i, m, total)
			}
		}
	})
}

func TestNodesThatAreAwayAreNamedAndWhatTheyReportedCounts(t *testing.T) {
	p := newPurses(t)
	for _, id := range []string{"a", "b", "c"} {
		p.pay(t, id, 100)
	}
	p.dead["b"], p.gone["c"] = true, true
	got, away := p.nodes["a"].Everywhere(t.Context(), []admin.Spending{{Scope: budgeted, Since: today}, {Scope: plain}})
	require.Equal(t, []string{"node-b", "node-c"}, away)
	v, ok := p.bank.Look(budgeted, "a", 1)
	require.True(t, ok)
	require.Equal(t, v.Settled-v.Spent+100, got[0], "the bank's word for the others, our own for ourselves")
	require.EqualValues(t, 100, got[1])
}

// TestNodesTellWhatTheyKnowOfAnIdAlsoWhenItsObjectIsGone: what it has spent in all,
// and the newest window in which any of them may still hold credit.
func TestNodesTellWhatTheyKnowOfAnIdAlsoWhenItsObjectIsGone(t *testing.T) {
	p := newPurses(t)
	scopes := []model.Scope{budgeted, plain, {Dim: model.DimUser, ID: "nobody"}}
	got, away := p.nodes["a"].Before(t.Context(), scopes)
	require.Empty(t, away)
	require.Equal(t, []admin.Before{{Window: -1}, {Window: -1}, {Window: -1}}, got)
	for _, id := range []string{"b", "c", "c"} {
		p.pay(t, id, 100)
	}
	for _, there := range []bool{true, false} {
		name := map[bool]string{true: "there", false: "deleted"}[there]
		p.off.Store(!there)
		if !there {
			p.bank.Drop(time.Now(), budgeted)
		}
		got, _ = p.nodes["a"].Before(t.Context(), scopes)
		require.EqualValues(t, 300, got[0].Spent, name)
		require.Equal(t, today.Unix(), got[0].Window, name)
		require.Equal(t, admin.Before{Spent: 300, Window: -1}, got[1], name)
		if there {
			require.EqualValues(t, 300, got[0].Counted)
		}
	}
	p.dead["b"] = true
	got, away = p.nodes["a"].Before(t.Context(), scopes)
	require.Equal(t, []string{"node-b"}, away)
	require.EqualValues(t, 200, got[0].Spent)
}

func FuzzSpentMessages(f *testing.F) {
	q, _ := json.Marshal(&spentQuestion{Version: 1, Scopes: []model.Scope{budgeted}, Since: []int64{5}})
	a, _ := json.Marshal(&spentAnswer{Version: 1, Incarnation: 3, Spent: []unit.Money{5}})
	f.Add(q)
	f.Add(a)
	f.Add([]byte(`{"v":1,"incarnation":3,"spent":[5],"windows":[-1],"booked":[7]}`))
	f.Add([]byte(`{"v":1,"spent":[5],"windows":[1,2],"booked":[7]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if q, err := decodeSpentQuestion(data); err == nil {
			require.Equal(t, len(q.Scopes), len(q.Since))
			require.LessOrEqual(t, len(q.Scopes), mostAsked)
		}
		if a, err := decodeSpentAnswer(data, 1); err == nil {
			require.Len(t, a.Spent, 1)
		}
	})
}

// What today's release sends is what the next must read.
func TestSpentMessagesStayReadable(t *testing.T) {
	q, err := decodeSpentQuestion([]byte(`{"v":1,"scopes":[{"dim":1,"id":"k"},{"dim":7,"id":"blue"}],"since":[0,1700000000]}`))
	require.NoError(t, err)
	require.Equal(t, []model.Scope{{Dim: model.DimKey, ID: "k"}, {Dim: model.DimTag, ID: "blue"}}, q.Scopes)
	a, err := decodeSpentAnswer([]byte(`{"v":1,"incarnation":3,"spent":[5,6]}`), 2)
	require.NoError(t, err)
	require.Equal(t, []unit.Money{5, 6}, a.Spent)
	_, err = decodeSpentQuestion([]byte(`{"v":2,"scopes":[],"since":[]}`))
	require.Error(t, err)
}
