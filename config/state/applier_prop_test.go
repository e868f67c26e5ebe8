package state_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/state"
)

// The state and everything its indexes answer follow from the commands alone:
// however they were batched, and whether they were replayed or restored.
func TestSameCommandsGiveTheSameStateHoweverBatched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		compile := func(s *state.Snapshot) *state.Routing { return &state.Routing{} }
		one, batched := state.NewApplier(state.NewStore(compile)), state.NewApplier(state.NewStore(compile))
		at := time.Unix(1_700_000_000, 0)
		for index := uint64(1); index <= uint64(rapid.IntRange(1, 40).Draw(t, "commands")); index++ {
			m := model.Mutation{}
			if rapid.Bool().Draw(t, "named") {
				m.ID = name.Draw(t, "id")
			}
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				m.Changes = append(m.Changes, drawChange(t, name))
			}
			payload, err := json.Marshal(m)
			require.NoError(t, err)
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(9*time.Hour)).Draw(t, "later")))
			require.Equal(t, one.Apply(index, at, 1, payload), batched.Apply(index, at, 1, payload))
			one.Publish()
			if rapid.Bool().Draw(t, "end of batch") {
				batched.Publish()
			}
		}
		batched.Publish()
		restored := state.NewApplier(state.NewStore(compile))
		swap, err := restored.Restore(one.Snapshot())
		require.NoError(t, err)
		swap()
		want, answers := dump(one), ask(one.Applied(), at)
		require.Equal(t, want, dump(batched))
		require.Equal(t, want, dump(restored))
		require.Equal(t, answers, ask(batched.Applied(), at))
		require.Equal(t, answers, ask(restored.Applied(), at))
	})
}

func drawChange(t *rapid.T, name *rapid.Generator[string]) model.Change {
	var expect *uint64
	if rapid.Bool().Draw(t, "expects") {
		expect = model.Version(rapid.Uint64Range(0, 6).Draw(t, "version"))
	}
	id, owner := name.Draw(t, "entity"), name.Draw(t, "owner")
	until := time.Unix(1_700_000_000, 0).Add(9 * time.Hour)
	table := rapid.SampledFrom([]model.Table{model.Keys, model.Users, model.Members, model.Configs,
		model.Organizations, model.OrgMembers, model.Teams, model.Tags, model.Alerts}).Draw(t, "table")
	var e model.Entity
	switch table {
	case model.Keys:
		e = &model.Key{Hash: id, Alias: owner, UserID: owner, TeamID: id + owner, Replaces: owner + "-old", ReplacesUntil: &until}
	case model.Users:
		e = &model.User{ID: id, Email: owner}
	case model.Members:
		e = &model.Member{TeamID: owner, UserID: id}
	case model.Organizations:
		e = &model.Organization{ID: id, Alias: owner}
	case model.OrgMembers:
		e = &model.OrgMember{OrganizationID: owner, UserID: id}
	case model.Teams:
		e = &model.Team{ID: id, OrganizationID: owner}
	case model.Tags:
		e = &model.Tag{Name: id}
	case model.Alerts:
		e = &model.Alert{Scope: model.Scope{Dim: model.DimTag, ID: id}, Threshold: owner, Window: 7}
	default:
		e = &model.ConfigVersion{Number: rapid.Uint64Range(1, 200).Draw(t, "number")}
	}
	if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
		return model.Delete(table, e.EntityID(), expect)
	}
	return model.Put(table, e, expect)
}

func dump(a *state.Applier) []string {
	var out []string
	for kind, data := range a.Snapshot() {
		out = append(out, fmt.Sprintf("%d %s", kind, data))
	}
	return out
}

func ask(s *state.Snapshot, now time.Time) []string {
	var out []string
	add := func(what string, v any) {
		data, _ := json.Marshal(v)
		out = append(out, what+" "+string(data))
	}
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		k, _ := s.KeyByAlias(n)
		add("alias", k)
		k, _ = s.KeyFor(n+"-old", now)
		add("rotated", k)
		add("keys", collect(s.KeysOfUser(n)))
		add("members", collect(s.MembersOf(n)))
		add("memberships", collect(s.MembershipsOf(n)))
		add("organization's members", collect(s.MembersOfOrg(n)))
		add("organizations", collect(s.OrgsOf(n)))
		add("organization's teams", collect(s.TeamsOfOrg(n)))
		u, _ := s.UserByEmail(n)
		add("email", u)
	}
	add("config", s.ActiveConfig())
	return out
}
