package budget_test

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

var epoch = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func ask(w *world, node budget.NodeID, inc uint64, it budget.Item) budget.Grant {
	return w.bank.Do(epoch, &budget.Command{Op: budget.OpBatch, Node: node, Incarnation: inc, Items: []budget.Item{it}}).Grants[0]
}

func register(w *world, inc uint64, nodes ...budget.NodeID) {
	for _, n := range nodes {
		w.bank.Do(epoch, &budget.Command{Op: budget.OpRegister, Node: n, Incarnation: inc})
	}
}

func TestFirstAskIsGrantedUpToItsWant(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a")
	g := ask(w, "a", 1, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 7 * unit.Dollar, Need: unit.Dollar, Call: unit.Dollar})
	require.Equal(t, 7*unit.Dollar, g.G)
	require.Equal(t, 93*unit.Dollar, g.Free)
	require.False(t, g.Tight)
}

func TestRepeatedAskGrantsNothingMore(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a")
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 7 * unit.Dollar, Need: 7 * unit.Dollar, Call: unit.Dollar, Exact: true}
	require.Equal(t, ask(w, "a", 1, it), ask(w, "a", 1, it))
}

func TestGrantLeavesSomethingForOthersUnlessNeeded(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a", "b")
	call := 20 * unit.Dollar // too dear for standing shares
	g := ask(w, "a", 1, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 1000 * unit.Dollar, Need: unit.Dollar, Call: call})
	require.Equal(t, 50*unit.Dollar, g.G)
	g = ask(w, "b", 1, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 1000 * unit.Dollar, Need: 60 * unit.Dollar, Call: call})
	require.Equal(t, 50*unit.Dollar, g.G, "all there is")
	require.True(t, g.Tight)
}

func TestNodeThatNeverRegisteredGetsNothing(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: unit.Dollar, Need: unit.Dollar}
	require.Zero(t, ask(w, "a", 1, it).G)
	require.Zero(t, ask(w, "a", 0, it).G)
	register(w, 2, "a")
	require.Zero(t, ask(w, "a", 1, it).G, "nor does a start that was replaced")
	require.Equal(t, unit.Dollar, ask(w, "a", 2, it).G)
}

func TestDebtIsTakenFromTheNextGrantFirst(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 10 * unit.Dollar})
	register(w, 1, "a")
	call := 10 * unit.Dollar
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 2 * unit.Dollar, Need: 2 * unit.Dollar, Call: call, Exact: true}
	require.Equal(t, 2*unit.Dollar, ask(w, "a", 1, it).G)
	it.Window, it.S, it.Want, it.Need = 0, 5*unit.Dollar, 6*unit.Dollar, unit.Dollar
	g := ask(w, "a", 1, it)
	require.Equal(t, 6*unit.Dollar, g.G)
	require.Equal(t, 4*unit.Dollar, g.Free, "five are spent and one is credit")
	it.S, it.Want, it.Need = 12*unit.Dollar, 20*unit.Dollar, unit.Dollar
	g = ask(w, "a", 1, it)
	require.Equal(t, 10*unit.Dollar, g.G, "credit never passes the limit")
	require.Equal(t, -2*unit.Dollar, g.Free)
}

func TestLoweredLimitGrantsNothingUntilCreditIsBack(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 10 * unit.Dollar})
	register(w, 1, "a", "b")
	call := 10 * unit.Dollar
	ask(w, "a", 1, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 8 * unit.Dollar, Need: 8 * unit.Dollar, Call: call})
	w.set(scope("k"), model.BudgetDef{Limit: 5 * unit.Dollar})
	g := ask(w, "b", 1, budget.Item{Scope: scope("k"), Window: 0, Want: unit.Dollar, Need: unit.Dollar, Call: call})
	require.Zero(t, g.G)
	require.True(t, g.Tight)
	ask(w, "a", 1, budget.Item{Scope: scope("k"), Window: 0, R: 4 * unit.Dollar, Want: 8 * unit.Dollar, Call: call})
	require.Equal(t, unit.Dollar, ask(w, "b", 1, budget.Item{Scope: scope("k"), Window: 0, Want: unit.Dollar, Need: unit.Dollar, Call: call}).G)
}

func TestWindowOpensLazilyAndOldOneTakesLateSettlements(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar, Window: unit.Window{N: 1, Unit: "d"}})
	register(w, 1, "a")
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 10 * unit.Dollar, Need: 10 * unit.Dollar}
	g := ask(w, "a", 1, it)
	first := g.Window
	require.Equal(t, time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC).Unix(), g.End)
	late := budget.Command{Op: budget.OpBatch, Node: "a", Incarnation: 1, Items: []budget.Item{{Scope: scope("k"), Window: first, S: 9 * unit.Dollar, Want: 20 * unit.Dollar, Need: 5 * unit.Dollar}}}
	g = w.bank.Do(epoch.Add(24*time.Hour), &late).Grants[0]
	require.Equal(t, first+86400, g.Window)
	require.Zero(t, g.Settled)
	require.Equal(t, g.Share, g.G, "an ask for an ended window brings nothing but the new one's share")
	g = w.bank.Do(epoch, &late).Grants[0]
	require.Equal(t, first+86400, g.Window, "time does not run backwards")
}

func TestChangedDurationKeepsTheRunningWindow(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 10 * unit.Dollar, Window: unit.Window{N: 1, Unit: "d"}})
	register(w, 1, "a")
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 10 * unit.Dollar, Need: 10 * unit.Dollar}
	g := ask(w, "a", 1, it)
	for _, win := range []unit.Window{{N: 1, Unit: "mo"}, {}} {
		w.set(scope("k"), model.BudgetDef{Limit: 10 * unit.Dollar, Window: win})
		h := ask(w, "a", 1, it)
		require.Equal(t, g.Window, h.Window)
		require.Equal(t, g.G, h.G)
	}
}

func TestStandingSharesAreEvenAndCounted(t *testing.T) {
	w := newWorld()
	register(w, 3, "a", "b", "c", "d")
	w.bank.Do(epoch, &budget.Command{Op: budget.OpLeave, Node: "d"})
	w.set(scope("k"), model.BudgetDef{Limit: 60 * unit.Dollar})
	w.bank.Open(epoch, scope("k"))
	for _, n := range []budget.NodeID{"a", "b", "c"} {
		v, ok := w.bank.Look(scope("k"), n, 3)
		require.True(t, ok)
		require.Equal(t, unit.Dollar, v.Granted)
		require.Equal(t, unit.Dollar, v.Share)
		require.Equal(t, 57*unit.Dollar, v.Free)
		require.Equal(t, 3, v.Nodes)
	}
	w.set(scope("soft"), model.BudgetDef{Limit: 60 * unit.Dollar, Soft: true})
	w.set(scope("none"), model.BudgetDef{})
	w.bank.Open(epoch, scope("soft"), scope("none"), scope("unknown"))
	for _, s := range []string{"soft", "none"} {
		v, ok := w.bank.Look(scope(s), "a", 3)
		require.True(t, ok)
		require.Zero(t, v.Granted)
	}
	w.set(scope("dear"), model.BudgetDef{Limit: 60 * unit.Dollar})
	ask(w, "a", 3, budget.Item{Scope: scope("dear"), Window: budget.CurrentWindow, Call: 6 * unit.Dollar})
	v, _ := w.bank.Look(scope("dear"), "a", 3)
	require.Zero(t, v.Granted, "where credit must be exact nobody holds any idle")
}

func TestCloseIsFinal(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a")
	it := budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 10 * unit.Dollar, Need: 10 * unit.Dollar, Call: 30 * unit.Dollar}
	ask(w, "a", 1, it)
	register(w, 2, "a")
	closing := budget.Command{Op: budget.OpClose, Node: "a", Incarnation: 2, Settled: []budget.Settled{{Incarnation: 1, Scope: scope("k"), S: 4 * unit.Dollar}}}
	w.bank.Do(epoch, &closing)
	v, _ := w.bank.Look(scope("k"), "a", 2)
	require.Equal(t, 4*unit.Dollar, v.Settled)
	require.Equal(t, 96*unit.Dollar, v.Free)
	it.Window, it.S = 0, 9*unit.Dollar
	require.True(t, ask(w, "a", 1, it).Closed)
	final := budget.Command{Op: budget.OpClose, Node: "a", Incarnation: 2, Final: true}
	for range 2 { // repeats change nothing
		w.bank.Do(epoch, &final)
		w.bank.Do(epoch, &closing)
		require.True(t, ask(w, "a", 1, it).Closed)
		v, _ = w.bank.Look(scope("k"), "a", 2)
		require.Equal(t, 4*unit.Dollar, v.Settled)
		require.Equal(t, 96*unit.Dollar, v.Free)
	}
	_, users, ok := w.bank.Explain(scope("k"))
	require.True(t, ok)
	require.Empty(t, users, "closed starts do not pile up")
}

func TestForgetWritesOffAndTheNodeMayComeBack(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a", "b")
	ask(w, "a", 1, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: 10 * unit.Dollar, Need: 10 * unit.Dollar, Call: 30 * unit.Dollar})
	w.bank.Do(epoch, &budget.Command{Op: budget.OpForget, Node: "a"})
	v, _ := w.bank.Look(scope("k"), "a", 1)
	require.Equal(t, 10*unit.Dollar, v.Settled)
	require.Equal(t, 1, v.Nodes)
	register(w, 2, "a")
	g := ask(w, "a", 2, budget.Item{Scope: scope("k"), Window: budget.CurrentWindow, Want: unit.Dollar, Need: unit.Dollar})
	require.Equal(t, unit.Dollar, g.G)
}

func TestDroppedBudgetIsForgotten(t *testing.T) {
	w := newWorld()
	w.set(scope("k"), model.BudgetDef{Limit: 100 * unit.Dollar})
	register(w, 1, "a")
	w.bank.Open(epoch, scope("k"))
	w.bank.Drop(epoch, scope("k"), scope("never"))
	_, ok := w.bank.Look(scope("k"), "a", 1)
	require.False(t, ok)
}

func TestUnreadableCommandChangesNothing(t *testing.T) {
	w := newWorld()
	before := dump(w.bank)
	for _, p := range [][]byte{nil, {0}, {99, 0, 0}, {1, 200}, {1, 1, 'a', 1, 5}} {
		require.Error(t, w.bank.Apply(1, epoch, budget.Version, p).(*budget.Answer).Err)
	}
	require.Error(t, w.bank.Apply(1, epoch, budget.Version+1, []byte{2, 1, 'a', 1}).(*budget.Answer).Err)
	require.Equal(t, before, dump(w.bank))
}

// dump is a snapshot as bytes.
func dump(b *budget.Bank) []byte { return flat(b.Snapshot()) }

func flat(records iter.Seq2[byte, []byte]) []byte {
	var out bytes.Buffer
	for k, d := range records {
		fmt.Fprintf(&out, "%c%d:%s\n", k, len(d), d)
	}
	return out.Bytes()
}

func TestSnapshotIsOfItsMomentWhileApplyGoesOn(t *testing.T) {
	w := newWorld()
	register(w, 1, "a", "b")
	for i := range 300 {
		w.set(scope(fmt.Sprint(i)), model.BudgetDef{Limit: 100 * unit.Dollar})
		w.bank.Open(epoch, scope(fmt.Sprint(i)))
	}
	before := dump(w.bank)
	records := w.bank.Snapshot()
	for i := range 300 {
		ask(w, "a", 1, budget.Item{Scope: scope(fmt.Sprint(i)), Window: 0, S: unit.Dollar, Want: 20 * unit.Dollar, Need: unit.Dollar})
	}
	register(w, 2, "a")
	w.bank.Do(epoch, &budget.Command{Op: budget.OpClose, Node: "a", Incarnation: 2, Final: true})
	w.bank.Drop(epoch, scope("7"))
	require.Equal(t, before, flat(records))
	require.NotEqual(t, before, dump(w.bank))
	other := newWorld()
	other.defs = w.defs
	require.NoError(t, other.bank.Restore(w.bank.Snapshot()))
	require.Equal(t, dump(w.bank), dump(other.bank))
}

func TestBrokenSnapshotLeavesTheBankAsItWas(t *testing.T) {
	w := newWorld()
	register(w, 1, "a")
	before := dump(w.bank)
	for _, rec := range []struct {
		kind byte
		data []byte
	}{{'x', []byte{1}}, {'m', nil}, {'m', []byte{9}}, {'b', []byte{1, 1, 1, 'k', 0}}, {'b', []byte{1, 1, 1, 'k', 200}}, {'c', []byte{1, 2, 3}}} {
		require.Error(t, w.bank.Restore(func(yield func(byte, []byte) bool) { yield(rec.kind, rec.data) }), "%q %v", rec.kind, rec.data)
		require.Equal(t, before, dump(w.bank))
	}
}

// commands are one of each kind, with every field set.
func commands() []*budget.Command {
	k, m := scope("key"), model.Scope{Dim: model.DimMember, ID: "team\x1fuser"}
	return []*budget.Command{
		{Op: budget.OpRegister, Node: "01JNODE", Incarnation: 7},
		{Op: budget.OpBatch, Node: "01JNODE", Incarnation: 7, Items: []budget.Item{
			{Scope: k, Window: budget.CurrentWindow, Want: 5 * unit.Dollar, Need: unit.Dollar, Least: 9, Call: 3, Exact: true},
			{Scope: m, Window: 1_772_582_400, S: 1 << 40, R: 77, Want: unit.MaxMoney},
		}},
		{Op: budget.OpClose, Node: "01JNODE", Incarnation: 8, Settled: []budget.Settled{{Incarnation: 7, Scope: m, Window: 1_772_582_400, S: 12}}, WriteOff: true},
		{Op: budget.OpClose, Node: "01JNODE", Incarnation: 8, Settled: []budget.Settled{}, Final: true},
		{Op: budget.OpForget, Node: "01JOTHER", Incarnation: 3},
		{Op: budget.OpLeave, Node: "01JNODE"},
		{Op: budget.OpOpen, Scopes: []model.Scope{k, m}},
		{Op: budget.OpDrop, Scopes: []model.Scope{m}},
	}
}

func TestGoldenCommandsAreReadAndWrittenAlike(t *testing.T) {
	var out bytes.Buffer
	for _, c := range commands() {
		fmt.Fprintf(&out, "%x\n", budget.AppendCommand(nil, c))
	}
	golden(t, "testdata/commands.v1.txt", out.Bytes())
	for _, c := range commands() {
		got, err := budget.DecodeCommand(budget.AppendCommand(nil, c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
}

func TestGoldenAnswerIsReadAndWrittenAlike(t *testing.T) {
	a := &budget.Answer{Grants: []budget.Grant{
		{Scope: scope("key"), Window: 1_772_582_400, End: 1_772_668_800, G: 5, Settled: 6, Free: -7, Share: 8, Nodes: 9, Tight: true},
		{Scope: scope("key"), Closed: true}, {Scope: scope("key"), Unknown: true},
	}}
	golden(t, "testdata/answer.v1.txt", fmt.Appendf(nil, "%x\n", budget.AppendAnswer(nil, a)))
	got, err := budget.DecodeAnswer(budget.AppendAnswer(nil, a))
	require.NoError(t, err)
	require.Equal(t, a, got)
	a.Err = fmt.Errorf("no")
	got, err = budget.DecodeAnswer(budget.AppendAnswer(nil, a))
	require.NoError(t, err)
	require.EqualError(t, got.Err, "no")
}

func TestGoldenSnapshotIsReadAndWrittenAlike(t *testing.T) {
	w := newWorld()
	w.set(scope("key"), model.BudgetDef{Limit: 100 * unit.Dollar, Window: unit.Window{N: 1, Unit: "d"}})
	w.set(model.Scope{Dim: model.DimMember, ID: "team\x1fuser"}, model.BudgetDef{Limit: unit.Dollar})
	register(w, 7, "01JNODE", "01JOTHER")
	for i, c := range commands() {
		w.bank.Do(epoch.Add(time.Duration(i)*24*time.Hour), c)
	}
	ask(w, "01JOTHER", 7, budget.Item{Scope: scope("key"), Window: budget.CurrentWindow, Want: unit.Dollar, Need: unit.Dollar})
	var out bytes.Buffer
	for k, d := range w.bank.Snapshot() {
		fmt.Fprintf(&out, "%c %x\n", k, d)
	}
	golden(t, "testdata/snapshot.v1.txt", out.Bytes())
}

// golden compares with a file of an earlier release. A new form gets a new
// file and a new version; this one is never rewritten.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
		t.Fatalf("%s did not exist and was written: look at it and run again", path)
	}
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// A node whose books are closed asks without naming a window: it is told so,
// and no credit is worked out for a lease that holds none.
func TestAskOfAClosedStartIsAnsweredClosed(t *testing.T) {
	sc := model.Scope{Dim: model.DimKey, ID: "k"}
	b := budget.NewBank(func(model.Scope) (model.BudgetDef, bool) { return model.BudgetDef{Limit: unit.Dollar}, true }, nil)
	at := time.Unix(1_700_000_000, 0)
	b.Do(at, &budget.Command{Op: budget.OpClose, Node: "b", Incarnation: 2, Settled: []budget.Settled{{Incarnation: 1, Scope: sc, S: 5}}})
	b.Do(at, &budget.Command{Op: budget.OpRegister, Node: "b", Incarnation: 1})
	a := b.Do(at, &budget.Command{Op: budget.OpBatch, Node: "b", Incarnation: 1,
		Items: []budget.Item{{Scope: sc, Window: budget.CurrentWindow, Want: unit.Dollar, Need: unit.Dollar}}})
	require.Len(t, a.Grants, 1)
	require.True(t, a.Grants[0].Closed)
	require.Zero(t, a.Grants[0].G)
}
