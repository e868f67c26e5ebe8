package sim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// machine is the whole state machine of a node but for its data keys, which
// change only with an operator's key.
type machine struct {
	*fsm.FSM
	parts   *parts
	members *members.Applier
}

func newMachine() *machine {
	m := &machine{parts: newParts(nil), members: members.NewApplier()}
	appliers := m.parts.appliers()
	appliers[command.Membership] = m.members
	m.FSM = fsm.New(fsm.Config{ClusterID: "c", Appliers: appliers})
	return m
}

// sink takes a snapshot in memory.
type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "s" }
func (*sink) Close() error  { return nil }
func (*sink) Cancel() error { return nil }

func (m *machine) bytes(t require.TestingT) []byte {
	snap, err := m.Snapshot()
	require.NoError(t, err)
	var s sink
	require.NoError(t, snap.Persist(&s))
	snap.Release()
	return s.Bytes()
}

// anyEntry draws a command of any state machine.
func anyEntry(t *rapid.T, index uint64, at time.Time) *raft.Log {
	id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id")
	c := command.Command{At: at}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2, 3:
		c.Type, c.Version = command.Mutation, state.MutationVersion
		var change model.Change
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			change = model.Delete(model.Keys, id, nil)
		case 1:
			limit := unit.Money(rapid.Int64Range(0, 1e10).Draw(t, "limit"))
			change = model.Put(model.Teams, &model.Team{ID: id, Spending: model.Spending{MaxBudget: &limit}}, nil)
		default:
			limit := unit.Money(rapid.Int64Range(0, 1e10).Draw(t, "limit"))
			key := &model.Key{Hash: id, Alias: "alias of " + id, TeamID: "a", Blocked: rapid.Bool().Draw(t, "blocked"), Spending: model.Spending{MaxBudget: &limit}}
			change = model.Put(model.Keys, key, rapid.SampledFrom([]*uint64{nil, model.Version(0), model.Version(index / 2)}).Draw(t, "expect"))
		}
		payload, err := json.Marshal(model.Mutation{ID: fmt.Sprint("m", rapid.IntRange(0, 40).Draw(t, "mutation")), At: at, Changes: []model.Change{change}})
		require.NoError(t, err)
		c.Payload = payload
	case 4, 5, 6:
		c.Type, c.Version = command.BudgetBatch, budget.Version
		b := budget.Command{Op: rapid.SampledFrom([]budget.Op{budget.OpRegister, budget.OpBatch, budget.OpBatch, budget.OpClose, budget.OpForget, budget.OpLeave}).Draw(t, "op"),
			Node: budget.NodeID(id), Incarnation: rapid.Uint64Range(1, 3).Draw(t, "incarnation"), Final: true}
		if b.Op == budget.OpBatch {
			s := unit.Money(rapid.Int64Range(0, 1e9).Draw(t, "s"))
			b.Items = []budget.Item{{Scope: model.Scope{Dim: rapid.SampledFrom([]model.Dim{model.DimKey, model.DimTeam}).Draw(t, "dim"), ID: "a"},
				Window: rapid.SampledFrom([]int64{budget.CurrentWindow, 0}).Draw(t, "window"), S: s, Want: s * 2, Need: s, Call: s / 10}}
		}
		c.Payload = budget.AppendCommand(nil, &b)
	default:
		c.Type, c.Version = command.Membership, members.Version
		node := &members.Node{ID: id, Name: id, Role: members.RoleNode, Addr: id + ":7946", Incarnation: rapid.Uint64Range(1, 4).Draw(t, "start"),
			Nonce: "n", FeatureMin: 1, FeatureMax: rapid.Uint32Range(1, 3).Draw(t, "speaks")}
		m := rapid.SampledFrom([]members.Command{
			{Op: members.OpFound, Node: node, Feature: 1, CA: &members.CA{Cert: id}, Key: &members.GossipKey{ID: "k" + id, Sealed: "s"}},
			{Op: members.OpAdmit, Node: node}, {Op: members.OpStart, Node: node}, {Op: members.OpRemove, ID: id, Why: "left"},
			{Op: members.OpToken, Token: &members.Token{ID: "t" + id, SealedKey: "s", Role: members.RoleNode, Uses: 2, Expires: at.Add(time.Hour)}},
			{Op: members.OpRevoke, ID: "t" + id}, {Op: members.OpKeyInstall, Key: &members.GossipKey{ID: "k" + id, Sealed: "s"}},
			{Op: members.OpKeyUse, ID: "k" + id}, {Op: members.OpKeyRemove, ID: "k" + id}, {Op: members.OpFeature, Feature: 2},
		}).Draw(t, "membership")
		c.Payload = m.Encode()
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: c.Encode()}
}

// TestSameLogGivesTheSameBytes applies one log entry by entry on one node, and in
// batches with snapshots and restores between on another.
func TestSameLogGivesTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := newMachine(), newMachine()
		at := noon
		var waiting []*raft.Log
		flush := func() {
			if len(waiting) > 0 {
				other.ApplyBatch(waiting)
				waiting = nil
			}
		}
		entries := uint64(rapid.IntRange(1, 60).Draw(t, "entries"))
		for i := range entries {
			at = at.Add(time.Duration(rapid.IntRange(-1, 30).Draw(t, "minutes")) * time.Minute)
			e := anyEntry(t, i+1, at)
			one.Apply(e)
			waiting = append(waiting, e)
			switch rapid.IntRange(0, 5).Draw(t, "between") {
			case 0:
				flush()
			case 1:
				flush()
				fresh := newMachine()
				require.NoError(t, fresh.Restore(io.NopCloser(bytes.NewReader(other.bytes(t)))))
				other = fresh
			}
		}
		flush()
		require.NoError(t, one.Err())
		require.NoError(t, other.Err())
		require.Equal(t, one.bytes(t), other.bytes(t))
		require.Equal(t, one.parts.store.State().Keys.IDs(), other.parts.store.State().Keys.IDs())
	})
}
