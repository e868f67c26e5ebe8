package state_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

type machine struct {
	t     testing.TB
	store *state.Store
	*state.Applier
	index uint64
	at    time.Time
}

func newMachine(t testing.TB, compile func(*state.Snapshot) *state.Routing) *machine {
	store := state.NewStore(compile)
	return &machine{t: t, store: store, Applier: state.NewApplier(store), index: 10, at: start}
}

func (m *machine) apply(id string, changes ...model.Change) any {
	m.t.Helper()
	payload, err := json.Marshal(model.Mutation{ID: id, Changes: changes})
	require.NoError(m.t, err)
	m.index++
	return m.Apply(m.index, m.at, state.MutationVersion, payload)
}

func (m *machine) done(changes ...model.Change) {
	m.t.Helper()
	r, ok := m.apply("", changes...).(model.Result)
	require.True(m.t, ok)
	require.Nil(m.t, r.Conflict)
}

func (m *machine) records() []string {
	var out []string
	for kind, data := range m.Snapshot() {
		out = append(out, fmt.Sprintf("%d %s", kind, data))
	}
	return out
}

func TestMutationAppliesAllOrNothing(t *testing.T) {
	m := newMachine(t, nil)
	m.done(model.Put(model.Keys, &model.Key{Hash: "k1"}, model.Version(0)))
	before := m.Applied()

	r := m.apply("", model.Put(model.Keys, &model.Key{Hash: "k2"}, nil),
		model.Put(model.Keys, &model.Key{Hash: "k1"}, model.Version(0))).(model.Result)
	require.NotNil(t, r.Conflict)
	require.Equal(t, model.Refused{Table: model.Keys, ID: "k1", Have: 11}, *r.Conflict)
	_, ok := m.Applied().KeyByHash("k2")
	require.False(t, ok)
	require.Equal(t, before.Index, m.Applied().Index)
}

func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		name   string
		change model.Change
		have   uint64
		ok     bool
	}{
		{"create where there is none", model.Put(model.Users, &model.User{ID: "new"}, model.Version(0)), 0, true},
		{"create where there is one", model.Put(model.Users, &model.User{ID: "u"}, model.Version(0)), 11, false},
		{"update of the version read", model.Put(model.Users, &model.User{ID: "u"}, model.Version(11)), 0, true},
		{"update of an older version", model.Put(model.Users, &model.User{ID: "u"}, model.Version(3)), 11, false},
		{"update of what was deleted", model.Put(model.Users, &model.User{ID: "gone"}, model.Version(3)), 0, false},
		{"delete of the version read", model.Delete(model.Users, "u", model.Version(11)), 0, true},
		{"delete of an older version", model.Delete(model.Users, "u", model.Version(3)), 11, false},
		{"delete of none, whatever", model.Delete(model.Users, "gone", nil), 0, true},
		{"put over whatever is there", model.Put(model.Users, &model.User{ID: "u"}, nil), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, nil)
			m.done(model.Put(model.Users, &model.User{ID: "u"}, nil))
			r := m.apply("", c.change).(model.Result)
			require.Equal(t, c.ok, r.Conflict == nil)
			if !c.ok {
				require.Equal(t, c.have, r.Conflict.Have)
			}
		})
	}
}

func TestUpdateKeepsTheCreationIndex(t *testing.T) {
	m := newMachine(t, nil)
	m.done(model.Put(model.Teams, &model.Team{ID: "t"}, nil))
	m.done(model.Put(model.Teams, &model.Team{ID: "t", Alias: "a"}, nil))
	team, _ := m.Applied().Teams.Get("t")
	require.Equal(t, uint64(11), team.CreatedIndex)
	require.Equal(t, uint64(12), team.Version)
}

// What only the first caller knew is kept with the result, also through a
// snapshot: a repetition may come to any node after any restart.
func TestRepeatedMutationGetsTheFirstOnesSealedSecret(t *testing.T) {
	m := newMachine(t, nil)
	apply := func(m *machine, id, sealed string) model.Result {
		payload, err := json.Marshal(model.Mutation{ID: id, Sealed: sealed, Changes: []model.Change{
			model.Put(model.Keys, &model.Key{Hash: "k"}, model.Version(0))}})
		require.NoError(t, err)
		m.index++
		return m.Apply(m.index, m.at, state.MutationVersion, payload).(model.Result)
	}
	require.Equal(t, model.Result{Index: 11, Sealed: "first"}, apply(m, "id-1", "first"))
	require.Equal(t, model.Result{Index: 11, Sealed: "first"}, apply(m, "id-1", "second"))
	refused := apply(m, "id-2", "third")
	require.NotNil(t, refused.Conflict)
	require.Empty(t, refused.Sealed, "nothing was made")

	fresh := newMachine(t, nil)
	swap, err := fresh.Restore(m.Snapshot())
	require.NoError(t, err)
	swap()
	require.Equal(t, model.Result{Index: 11, Sealed: "first"}, apply(fresh, "id-1", "fourth"))
}

func TestRepeatedMutationAnswersAsTheFirstTime(t *testing.T) {
	m := newMachine(t, nil)
	put := model.Put(model.Keys, &model.Key{Hash: "k"}, model.Version(0))
	first := m.apply("id-1", put)
	require.Equal(t, first, m.apply("id-1", put), "the key exists by now, yet it is no conflict")
	refused := m.apply("id-2", put).(model.Result)
	require.NotNil(t, refused.Conflict)
	m.done(model.Delete(model.Keys, "k", nil))
	require.Equal(t, refused, m.apply("id-2", put))
}

func TestMutationIDsAreForgottenAfterADayAndTenThousand(t *testing.T) {
	m := newMachine(t, nil)
	put := model.Put(model.Keys, &model.Key{Hash: "k"}, nil)
	first := m.apply("old", put)
	m.at = m.at.Add(25 * time.Hour)
	m.apply("clock", put)
	require.NotEqual(t, first, m.apply("old", put))

	first = m.apply("crowded", put)
	for i := range 9_999 {
		m.apply(fmt.Sprint(i), put)
	}
	require.Equal(t, first, m.apply("crowded", put))
	m.apply("one more", put)
	require.NotEqual(t, first, m.apply("crowded", put))
}

func TestClockNeverRunsBackwards(t *testing.T) {
	m := newMachine(t, nil)
	m.done(model.Put(model.Keys, &model.Key{Hash: "k"}, nil))
	m.at = m.at.Add(-time.Hour)
	m.done(model.Put(model.Keys, &model.Key{Hash: "k"}, nil))
	require.Equal(t, start, m.Applied().Now)
}

func TestWhatCannotBeAppliedChangesNothing(t *testing.T) {
	m := newMachine(t, nil)
	good := model.Put(model.Keys, &model.Key{Hash: "k"}, nil)
	for name, c := range map[string]model.Change{
		"id differs":   {Table: model.Keys, ID: "other", Value: json.RawMessage(`{"token":"k"}`)},
		"wrong type":   {Table: model.Keys, ID: "k", Value: json.RawMessage(`{"token":7}`)},
		"not an id":    {Table: model.Keys, ID: "", Value: json.RawMessage(`{}`)},
		"not an entry": {Table: model.Keys, ID: "k", Value: json.RawMessage(`[]`)},
	} {
		err, ok := m.apply("", good, c).(error)
		require.True(t, ok, name)
		require.ErrorIs(t, err, state.ErrMutation, name)
		require.ErrorIs(t, state.Check(&model.Mutation{Changes: []model.Change{good, c}}), state.ErrMutation, name)
	}
	require.Zero(t, m.Applied().Keys.Len())
	require.ErrorIs(t, m.Apply(9, start, state.MutationVersion, []byte("{")).(error), state.ErrMutation)
}

func TestNewerCommandsStopTheNode(t *testing.T) {
	m := newMachine(t, nil)
	var stop interface{ StopsNode() }
	require.ErrorAs(t, m.apply("", model.Change{Table: "future", ID: "x"}).(error), &stop)
	require.ErrorAs(t, m.Apply(11, start, state.MutationVersion+1, []byte("{}")).(error), &stop)
	require.Error(t, state.Check(&model.Mutation{Changes: []model.Change{{Table: "future", ID: "x"}}}))
}

func TestReadersSeeABatchAtItsEnd(t *testing.T) {
	m := newMachine(t, nil)
	m.done(model.Put(model.Keys, &model.Key{Hash: "k"}, nil))
	require.Zero(t, m.store.State().Keys.Len())
	m.Publish()
	require.Equal(t, 1, m.store.State().Keys.Len())
	require.Equal(t, uint64(11), m.store.State().Index)
}

func TestRoutingIsCompiledOnlyWhenConfigOrModelsChange(t *testing.T) {
	compiled := 0
	m := newMachine(t, func(s *state.Snapshot) *state.Routing {
		compiled++
		r := &state.Routing{}
		if v := s.ActiveConfig(); v != nil {
			r.Version = v.Number
		}
		return r
	})
	m.done(model.Put(model.Configs, &model.ConfigVersion{Number: 1}, model.Version(0)))
	m.done(model.Put(model.Configs, &model.ConfigVersion{Number: 2}, model.Version(0)))
	m.Publish()
	require.Equal(t, 1, compiled, "once a batch")
	require.Equal(t, uint64(2), m.store.State().Routing.Version)

	m.done(model.Put(model.Keys, &model.Key{Hash: "k"}, nil))
	m.Publish()
	require.Equal(t, 1, compiled)
	require.Equal(t, uint64(2), m.store.State().Routing.Version)

	m.done(model.Put(model.Models, &model.DBModel{Deployment: model.Deployment{ID: "d"}}, nil))
	m.Publish()
	require.Equal(t, 2, compiled)
	m.store.Recompile()
	require.Equal(t, 3, compiled)
}

func TestLastFiftyConfigsAreKept(t *testing.T) {
	m := newMachine(t, nil)
	var deleted []string
	m.OnChange(func(a state.Applied) {
		for _, c := range a.Changes {
			if c.Value == nil {
				deleted = append(deleted, c.ID)
			}
		}
	})
	for n := uint64(1); n <= 53; n++ {
		m.done(model.Put(model.Configs, &model.ConfigVersion{Number: n}, model.Version(0)))
	}
	s := m.Applied()
	require.Equal(t, 50, s.Configs.Len())
	require.Equal(t, uint64(53), s.ActiveConfig().Number)
	history := s.ConfigHistory()
	require.Equal(t, uint64(53), history[0].Number)
	require.Equal(t, uint64(4), history[49].Number)
	require.Equal(t, []string{model.ConfigID(1), model.ConfigID(2), model.ConfigID(3)}, deleted)
}

func TestHooksHearEveryMutationWithTheStatesAroundIt(t *testing.T) {
	m := newMachine(t, nil)
	var heard []string
	m.OnChange(func(a state.Applied) {
		heard = append(heard, fmt.Sprintf("%d→%d %s %d", a.Old.Keys.Len(), a.New.Keys.Len(), a.Changes[0].ID, a.Index))
	})
	m.done(model.Put(model.Keys, &model.Key{Hash: "a"}, nil))
	m.done(model.Put(model.Keys, &model.Key{Hash: "b"}, nil))
	m.apply("", model.Put(model.Keys, &model.Key{Hash: "b"}, model.Version(0))) // refused: nothing to hear
	require.Equal(t, []string{"0→1 a 11", "1→2 b 12"}, heard)
}

func TestIndexesFollowChanges(t *testing.T) {
	m := newMachine(t, nil)
	until := start.Add(time.Hour)
	m.done(
		model.Put(model.Keys, &model.Key{Hash: "h1", Alias: "one", UserID: "u", TeamID: "t"}, nil),
		model.Put(model.Keys, &model.Key{Hash: "h2", Alias: "two", UserID: "u", Replaces: "h0", ReplacesUntil: &until}, nil),
		model.Put(model.Users, &model.User{ID: "u", Email: "A@Example.org"}, nil),
		model.Put(model.Members, &model.Member{TeamID: "t", UserID: "u"}, nil),
		model.Put(model.Members, &model.Member{TeamID: "t", UserID: "v"}, nil),
		model.Put(model.Members, &model.Member{TeamID: "t2", UserID: "u"}, nil),
	)
	s := m.Applied()
	k, ok := s.KeyByAlias("two")
	require.True(t, ok)
	require.Equal(t, "h2", k.Hash)
	require.Equal(t, []string{"h1", "h2"}, hashes(s.KeysOfUser("u")))
	require.Equal(t, []string{"h1"}, hashes(s.KeysOfTeam("t")))
	u, ok := s.UserByEmail("a@example.ORG")
	require.True(t, ok)
	require.Equal(t, "u", u.ID)
	require.Len(t, collect(s.MembersOf("t")), 2)
	require.Len(t, collect(s.MembershipsOf("u")), 2)
	_, ok = s.Member("t", "v")
	require.True(t, ok)

	k, ok = s.KeyFor("h0", start)
	require.True(t, ok, "a rotated key works for its grace period")
	require.Equal(t, "h2", k.Hash)
	_, ok = s.KeyFor("h0", until)
	require.False(t, ok, "and not after it")
	_, ok = s.KeyByHash("h0")
	require.False(t, ok)

	m.done(
		model.Put(model.Keys, &model.Key{Hash: "h2", Alias: "renamed", UserID: "w"}, nil),
		model.Delete(model.Keys, "h1", nil),
		model.Put(model.Users, &model.User{ID: "u", Email: "b@example.org"}, nil),
		model.Delete(model.Members, model.MemberID("t", "u"), nil),
	)
	s = m.Applied()
	for _, alias := range []string{"one", "two"} {
		_, ok = s.KeyByAlias(alias)
		require.False(t, ok, alias)
	}
	require.Empty(t, hashes(s.KeysOfUser("u")))
	require.Equal(t, []string{"h2"}, hashes(s.KeysOfUser("w")))
	_, ok = s.UserByEmail("a@example.org")
	require.False(t, ok)
	require.Len(t, collect(s.MembersOf("t")), 1)
	_, ok = s.KeyFor("h0", start)
	require.False(t, ok)
}

func TestRestoredStateEqualsTheOriginal(t *testing.T) {
	m := newMachine(t, nil)
	m.done(
		model.Put(model.Keys, &model.Key{Hash: "h", Alias: "a", UserID: "u", Metadata: json.RawMessage(`{"z":1,"z":2}`),
			Extra: map[string]json.RawMessage{"b": json.RawMessage("1"), "a": json.RawMessage(`"x"`)}}, nil),
		model.Put(model.Models, &model.DBModel{Deployment: model.Deployment{ID: "d", Group: "g",
			Params: model.Params{"model": json.RawMessage(`"openai/gpt-4o"`)}}}, nil),
		model.Put(model.Configs, &model.ConfigVersion{Number: 3, Config: model.Config{Environment: map[string]string{"B": "1", "A": "2"}}}, nil),
	)
	answer := m.apply("idem", model.Put(model.Budgets, &model.Budget{ID: "b"}, model.Version(0)))

	twin := newMachine(t, func(s *state.Snapshot) *state.Routing { return &state.Routing{Version: s.ActiveConfig().Number} })
	swap, err := twin.Restore(m.Snapshot())
	require.NoError(t, err)
	require.Zero(t, twin.Applied().Keys.Len(), "nothing is lost before the swap")
	swap()
	twin.Publish()
	require.Empty(t, cmp.Diff(m.records(), twin.records()))
	require.Equal(t, uint64(3), twin.store.State().Routing.Version)
	require.Equal(t, answer, twin.apply("idem", model.Put(model.Budgets, &model.Budget{ID: "b"}, model.Version(0))))
	k, ok := twin.store.State().KeyByAlias("a")
	require.True(t, ok)
	require.Equal(t, "h", k.Hash)
}

func TestRestoreRefusesRecordsItDoesNotKnow(t *testing.T) {
	m := newMachine(t, nil)
	for _, r := range []struct {
		kind byte
		data string
	}{{99, "{}"}, {2, "{"}, {1, "[]"}, {10, "7"}, {0, "encoding went wrong"}} {
		_, err := m.Restore(func(yield func(byte, []byte) bool) { yield(r.kind, []byte(r.data)) })
		require.Error(t, err)
	}
}

func hashes(keys func(func(*model.Key) bool)) []string {
	var out []string
	for k := range keys {
		out = append(out, k.Hash)
	}
	return out
}

func collect[T any](seq func(func(T) bool)) []T {
	var out []T
	for v := range seq {
		out = append(out, v)
	}
	return out
}

func BenchmarkRestoreHundredThousandKeys(b *testing.B) {
	m := newMachine(b, nil)
	var changes []model.Change
	for i := range 100_000 {
		rpm := int64(i)
		changes = append(changes, model.Put(model.Keys, &model.Key{Hash: fmt.Sprintf("%064x", i), Alias: fmt.Sprint("alias-", i),
			UserID: "admin", TeamID: fmt.Sprint("team-", i%100), Models: []string{"gpt-4o", "claude"}, Limits: model.Limits{RPM: &rpm},
			Metadata: json.RawMessage(`{"note":"` + strings.Repeat("x", 40) + `"}`)}, nil))
	}
	m.done(changes...)
	for b.Loop() {
		twin := newMachine(b, nil)
		swap, err := twin.Restore(m.Snapshot())
		require.NoError(b, err)
		swap()
		require.Equal(b, 100_000, twin.Applied().Keys.Len())
	}
}

func TestRecompiledRoutingOutlivesTheNextPublish(t *testing.T) {
	generation := uint64(1)
	m := newMachine(t, func(*state.Snapshot) *state.Routing { return &state.Routing{Version: generation} })
	m.done(model.Put(model.Keys, &model.Key{Hash: "a"}, nil))
	m.Publish()
	generation = 2
	m.store.Recompile()
	m.Publish()
	require.Equal(t, uint64(2), m.store.State().Routing.Version)
	m.done(model.Put(model.Keys, &model.Key{Hash: "b"}, nil))
	m.Publish()
	require.Equal(t, uint64(2), m.store.State().Routing.Version)
	require.Equal(t, 2, m.store.State().Keys.Len())
}
