package run

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// customers is a maker over a state of its own.
func customers(t *testing.T) (m *customerMaker, spends map[string]unit.Money, applier *state.Applier) {
	store := state.NewStore(func(*state.Snapshot) *state.Routing { return &state.Routing{} })
	applier = state.NewApplier(store)
	spends = map[string]unit.Money{}
	index := uint64(0)
	m = &customerMaker{state: store, clock: unit.ClockFunc(func() time.Time { return time.Unix(1_700_000_000, 0) }),
		spends: func() map[string]unit.Money { return maps.Clone(spends) }, failed: func(err error) { t.Error(err) }, seen: map[string]unit.Money{}}
	m.mutate = func(_ context.Context, changes []model.Change) (bool, error) {
		payload, err := json.Marshal(model.Mutation{Changes: changes})
		require.NoError(t, err)
		index++
		r := applier.Apply(index, time.Unix(1_700_000_000, 0), state.MutationVersion, payload).(model.Result)
		applier.Publish()
		return r.Conflict == nil, nil
	}
	return m, spends, applier
}

func TestEndUserIsMadeByItsFirstSpendAndAgainOnlyByItsNext(t *testing.T) {
	m, spends, _ := customers(t)
	spends["free"], spends["paying"] = 0, 5
	m.look(t.Context())
	_, free := m.state.State().EndUsers.Get("free")
	require.False(t, free, "nothing was spent")
	e, ok := m.state.State().EndUsers.Get("paying")
	require.True(t, ok)
	require.False(t, e.CreatedAt.IsZero())
	m.look(t.Context())
	_, err := m.mutate(t.Context(), []model.Change{model.Delete(model.EndUsers, "paying", nil)})
	require.NoError(t, err)
	m.look(t.Context())
	_, ok = m.state.State().EndUsers.Get("paying")
	require.False(t, ok, "a deleted end user stays deleted")
	spends["paying"] = 6
	m.look(t.Context())
	_, ok = m.state.State().EndUsers.Get("paying")
	require.True(t, ok)
}

func TestEndUserThatAnotherNodeMadeKeepsWhatItIs(t *testing.T) {
	m, spends, _ := customers(t)
	made := m.mutate
	m.mutate = func(ctx context.Context, changes []model.Change) (bool, error) { // somebody is faster
		_, err := made(ctx, []model.Change{model.Put(model.EndUsers, &model.EndUser{ID: "a", Blocked: true}, nil)})
		require.NoError(t, err)
		m.mutate = made
		return made(ctx, changes)
	}
	spends["a"], spends["b"] = 1, 1
	m.look(t.Context())
	m.look(t.Context())
	a, _ := m.state.State().EndUsers.Get("a")
	require.True(t, a.Blocked)
	_, ok := m.state.State().EndUsers.Get("b")
	require.True(t, ok)
}

func TestMadeUpNamesFillNothing(t *testing.T) {
	m, spends, _ := customers(t)
	for i := range 3 * mostCustomers {
		spends[fmt.Sprintf("u%d", i)] = 1
	}
	spends["a\x1fb"], spends[string(make([]byte, 300))] = 1, 1
	m.look(t.Context())
	require.Equal(t, mostCustomers, m.state.State().EndUsers.Len())
	m.look(t.Context())
	m.look(t.Context())
	require.Equal(t, 3*mostCustomers, m.state.State().EndUsers.Len())
	m.look(t.Context())
	require.Equal(t, 3*mostCustomers, m.state.State().EndUsers.Len(), "names that no object may have are left out")
}
