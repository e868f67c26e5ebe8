package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/flush/pgtest"
)

func TestEachActionIsNamedAndShown(t *testing.T) {
	w := newWorld(t, 1, nil)
	want := w.everyAction()
	n := w.nodes[0]
	require.Equal(t, want, n.actions())
	rows := n.list(audit.Filter{Ascending: true})
	require.Nil(t, rows[0].Before)
	require.Contains(t, string(rows[0].UpdatedTo), `"team_alias":"one"`)
	require.Equal(t, []string{"ada", "keyhash"}, []string{rows[0].By, rows[0].ByKey})
	require.Contains(t, string(rows[5].Before), `"token":"h1"`)
	require.Contains(t, string(rows[5].UpdatedTo), `"token":"h2"`)
	require.Nil(t, rows[6].UpdatedTo)
	for _, r := range rows {
		one, err := n.log.Get(context.Background(), r.ID)
		require.NoError(t, err)
		require.Equal(t, r, one)
	}
	_, err := n.log.Get(context.Background(), "none")
	require.ErrorIs(t, err, audit.ErrNone)
}

func TestFiltersChooseSortAndCut(t *testing.T) {
	for _, with := range []string{"ledger", "PostgreSQL", "both"} {
		t.Run(with, func(t *testing.T) {
			var server *pgtest.Server
			if with != "ledger" {
				server = pgtest.Start(t)
			}
			w := newWorld(t, 1, server)
			n := w.nodes[0]
			w.everyAction()
			if with == "PostgreSQL" {
				require.NoError(t, n.write())
			}
			if with == "both" { // four rows in the database, the rest not yet
				server.Exec(t, w.url, "DELETE FROM gateway_state_cursor WHERE name = 'audit'")
				require.NoError(t, n.write())
				server.Exec(t, w.url, "UPDATE gateway_state_cursor SET index = 4 WHERE name = 'audit'")
				server.Exec(t, w.url, `DELETE FROM "LiteLLM_AuditLog" WHERE table_name <> 'LiteLLM_TeamTable'`)
			}
			first := w.Now().Add(-8 * time.Second)
			for _, c := range []struct {
				f    audit.Filter
				want []string
			}{
				{audit.Filter{Action: "rotated"}, []string{"rotated h1"}},
				{audit.Filter{Object: "h2"}, []string{"deleted h2"}},
				{audit.Filter{Table: "LiteLLM_TeamTable", Action: "created"}, []string{"created t"}},
				{audit.Filter{By: "eve"}, nil},
				{audit.Filter{ByKey: "keyhash", Max: 2}, []string{"created 7", "created t:u"}},
				{audit.Filter{Skip: 4, Max: 2}, []string{"created h1", "updated t"}},
				{audit.Filter{Skip: 8, Max: 5}, []string{"created t"}},
				{audit.Filter{Skip: 9, Max: 5}, nil},
				{audit.Filter{Ascending: true, Skip: 3, Max: 2}, []string{"updated t", "created h1"}},
				{audit.Filter{Ascending: true, Skip: 8, Max: 5}, []string{"created 7"}},
				{audit.Filter{From: first.Add(time.Second), To: first.Add(2 * time.Second)}, []string{"unblocked t", "blocked t"}},
			} {
				p, err := n.log.List(context.Background(), withMax(c.f))
				require.NoError(t, err)
				var got []string
				for _, r := range p.Rows {
					got = append(got, r.Action+" "+r.Object)
				}
				require.Equal(t, c.want, got, "%+v", c.f)
			}
			if with != "both" {
				require.Equal(t, "7", n.list(audit.Filter{Sort: "object_id", Ascending: true})[0].Object)
				require.Equal(t, "updated", n.list(audit.Filter{Sort: "action"})[0].Action)
			}
			p, err := n.log.List(context.Background(), audit.Filter{Max: 1})
			require.NoError(t, err)
			require.Equal(t, 9, p.Total)
		})
	}
}

func withMax(f audit.Filter) audit.Filter {
	if f.Max == 0 {
		f.Max = 100
	}
	return f
}

func TestNoSecretIsShown(t *testing.T) {
	const canary = "canary"
	w := newWorld(t, 1, pgtest.Start(t))
	n := w.nodes[0]
	secretJSON := json.RawMessage(`{"logging":[{"callback_vars":{"langfuse_secret_key":"` + canary + `"}}],"password":"` + canary + `","note":"use sk-1234567890` + canary + ` or Bearer abcdefgh` + canary + `","credentials":{"a":["` + canary + `"]}}`)
	w.change(
		model.Put(model.Keys, &model.Key{Hash: "hash", Metadata: secretJSON, Config: secretJSON}, nil),
		model.Put(model.Users, &model.User{ID: "u", PasswordHash: canary + "1", Metadata: secretJSON}, nil),
		model.Put(model.Teams, &model.Team{ID: "t", Metadata: secretJSON, Extra: map[string]json.RawMessage{"router_settings": secretJSON}}, nil),
		model.Put(model.Models, &model.DBModel{Deployment: model.Deployment{ID: "m", Group: "g", Params: model.Params{
			"model": json.RawMessage(`"openai/gpt-4o"`), "api_key": json.RawMessage(`"` + canary + `"`), "vertex_credentials": json.RawMessage(`{"private":"` + canary + `"}`),
			"api_base": json.RawMessage(`"https://user:` + canary + `@host/v1"`), "extra_headers": json.RawMessage(`{"X-Api-Key":"` + canary + `","X-Other":"sealed:v1:` + canary + `"}`),
		}}}, nil))
	w.change(model.Put(model.Users, &model.User{ID: "u", PasswordHash: canary + "2"}, nil))
	w.change(model.Put(model.Users, &model.User{ID: "u", PasswordHash: canary + "2", Alias: "x"}, nil))
	w.index++
	require.NoError(t, n.write())
	var all string
	require.NoError(t, n.pool.QueryRow(context.Background(), `SELECT string_agg(to_jsonb(a)::text, E'\n' ORDER BY updated_at) FROM "LiteLLM_AuditLog" a`).Scan(&all))
	for _, r := range n.list(audit.Filter{}) {
		all += string(w.json(r))
	}
	require.NotContains(t, all, canary)
	require.Contains(t, all, "openai/gpt-4o")
	users := n.list(audit.Filter{Table: "LiteLLM_UserTable"})
	require.Contains(t, string(users[1].UpdatedTo), "[redacted, changed]", "that a password is another shows")
	require.NotContains(t, string(users[0].UpdatedTo), "changed]")
	require.Contains(t, string(users[0].UpdatedTo), "[redacted]")
}

func TestRowsOfLedgerAndDatabaseAreTheSame(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	n := w.nodes[0]
	w.everyAction()
	w.change(model.Put(model.Teams, &model.Team{ID: "a\u0000b", Alias: "x\u0000", Metadata: json.RawMessage(`{"half":"\ud800"}`)}, nil))
	before := n.list(audit.Filter{})
	require.NoError(t, n.write())
	after := n.list(audit.Filter{})
	require.Len(t, after, len(before))
	for i := range before {
		require.JSONEq(t, string(w.json(before[i])), string(w.json(after[i])))
	}
	require.Equal(t, n.actions(), n.stored())
}

func TestMembersOfAnAnswerAreLiteLLMs(t *testing.T) {
	w := newWorld(t, 1, nil)
	w.change(model.Put(model.Budgets, &model.Budget{ID: "b"}, nil))
	r := w.nodes[0].list(audit.Filter{})[0]
	got := string(w.json(r))
	require.True(t, strings.HasPrefix(got, fmt.Sprintf(`{"id":%q,"updated_at":"2026-02-03T04:05:07.789Z","changed_by":"ada","changed_by_api_key":"keyhash","action":"created","table_name":"LiteLLM_BudgetTable","object_id":"b","before_value":null,"updated_values":{`, r.ID)), got)
}
