package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/store"
	"tollgate/proxy/admin"
)

// auditWorld is a node that keeps and answers who changed what.
func auditWorld(t *testing.T) *world {
	w := newWorld(t, &model.Config{General: model.GeneralSettings{StoreModelInDB: true}})
	w.applier.OnChange(func(m state.Applied) {
		for i, c := range m.Changes {
			r := store.Audit{Index: m.Index, Part: uint32(i), At: m.At, By: m.By, ByKey: m.ByKey, Table: string(c.Table), ID: c.ID}
			if e, ok := m.Old.Entity(c.Table, c.ID); ok {
				r.Before, _ = json.Marshal(e)
			}
			if e, ok := m.New.Entity(c.Table, c.ID); ok {
				r.After, _ = json.Marshal(e)
			}
			require.NoError(t, w.ledger.PutAudits([]store.Audit{r}))
		}
	})
	log, err := audit.NewLog(audit.Config{Ledger: w.ledger, Cluster: "c", Clock: w, Logger: slog.New(slog.DiscardHandler)}, nil)
	require.NoError(t, err)
	w.audited(log)
	return w
}

func (w *world) audited(log admin.Audit) {
	w.t.Helper()
	d := w.a.Deps
	d.Audit = log
	a, err := admin.New(d)
	require.NoError(w.t, err)
	w.a = a
}

// audits are action, table and object of the rows of an answer.
func audits(m map[string]any) (out []string) {
	for _, r := range m["audit_logs"].([]any) {
		row := r.(map[string]any)
		out = append(out, row["action"].(string)+" "+strings.TrimPrefix(row["table_name"].(string), "LiteLLM_")+" "+row["object_id"].(string))
	}
	return out
}

func TestEveryAdminActionHasItsAuditRow(t *testing.T) {
	w := auditWorld(t)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	_, hash := w.key(`{"team_id":"t"}`)
	plain, _ := w.key(`{}`)
	w.post("/key/block", `{"key":"`+hash+`"}`).ok()
	w.post("/key/unblock", `{"key":"`+hash+`"}`).ok()
	w.post("/team/block", `{"team_id":"t"}`).ok()
	w.post("/key/update", `{"key":"`+hash+`","key_alias":"a","blocked":true}`).ok()
	fresh := w.post("/key/"+hash+"/regenerate", `{}`, "litellm-changed-by", "eve").ok()
	w.post("/user/new", `{"user_id":"u","auto_create_key":false}`).ok()
	w.post("/model/new", `{"model_name":"g","litellm_params":{"model":"openai/gpt-4o","api_key":"sk-canary-canary"},"model_info":{"id":"m"}}`).ok()
	w.post("/key/delete", `{"keys":["`+plain+`"]}`).ok()

	all := w.get("/audit?sort_order=asc&page_size=100").ok()
	got := audits(all)
	require.Equal(t, []string{"created TeamTable t", "created VerificationToken " + hash}, got[:2])
	require.Subset(t, got, []string{"blocked VerificationToken " + hash, "unblocked VerificationToken " + hash, "blocked TeamTable t",
		"updated VerificationToken " + hash, "rotated VerificationToken " + hash, "created UserTable u", "created ProxyModelTable m"})
	require.NotContains(t, string(w.json(all)), "canary")
	require.NotContains(t, string(w.json(all)), plain)
	require.NotContains(t, string(w.json(all)), fresh["key"].(string))

	eves := w.get("/audit?changed_by=eve").ok()
	require.Equal(t, []string{"rotated VerificationToken " + hash}, audits(eves))
	row := eves["audit_logs"].([]any)[0].(map[string]any)
	require.Equal(t, fresh["token"], row["updated_values"].(map[string]any)["token"])
	require.Equal(t, row, w.get("/audit/"+row["id"].(string)).ok())
	w.get("/audit/none").refused(404)
}

func (w *world) json(v any) []byte {
	b, err := json.Marshal(v)
	require.NoError(w.t, err)
	return b
}

func TestAuditPagesHaveLiteLLMsShape(t *testing.T) {
	w := auditWorld(t)
	for _, id := range []string{"a", "b", "c"} {
		w.post("/budget/new", `{"budget_id":"`+id+`"}`).ok()
		w.mu.Lock()
		w.now = w.now.Add(24 * time.Hour)
		w.mu.Unlock()
	}
	p := w.get("/audit?page=2&page_size=2").ok()
	require.Equal(t, []string{"created BudgetTable a"}, audits(p))
	require.Equal(t, []string{"audit_logs", "page", "page_size", "total", "total_pages"}, slices.Sorted(maps.Keys(p)))
	require.Equal(t, []any{3.0, 2.0, 2.0, 2.0}, []any{p["total"], p["page"], p["page_size"], p["total_pages"]})
	row := p["audit_logs"].([]any)[0].(map[string]any)
	require.Equal(t, []string{"action", "before_value", "changed_by", "changed_by_api_key", "id", "object_id", "table_name", "updated_at", "updated_values"}, slices.Sorted(maps.Keys(row)))
	require.Equal(t, "2026-01-15T12:00:00.000Z", row["updated_at"])
	require.Nil(t, row["before_value"])

	require.Equal(t, 10.0, w.get("/audit").ok()["page_size"])
	require.Equal(t, []string{"created BudgetTable b"}, audits(w.get("/audit?start_date=2026-01-16&end_date=2026-01-16").ok()), "a plain date ends with its day")
	require.Len(t, audits(w.get("/audit?start_date=2026-01-16").ok()), 2, "an end may be left open")
	require.Equal(t, []string{"created BudgetTable c"}, audits(w.get("/audit?sort_by=object_id&page_size=1").ok()))
	require.Equal(t, []any{}, w.get("/audit?action=deleted").ok()["audit_logs"])
	require.Equal(t, []any{}, w.get("/audit?page=9").ok()["audit_logs"])
	require.Equal(t, []string{"end_date:date_parsing", "sort_by:literal_error", "sort_order:literal_error"}, w.get("/audit?end_date=x&sort_by=before_value&sort_order=up").wrong())
	require.Equal(t, []string{"page_size:less_than_equal"}, w.get("/audit?page_size=101").wrong())
	w.get("/audit?page=900000").refused(400)
}

// deafAudit answers nothing.
type deafAudit struct{}

func (deafAudit) List(context.Context, audit.Filter) (audit.Page, error) {
	return audit.Page{}, errors.New("disk")
}

func (deafAudit) Get(context.Context, string) (audit.Row, error) {
	return audit.Row{}, errors.New("disk")
}

func TestWhoMayReadTheAuditLog(t *testing.T) {
	w := auditWorld(t)
	viewer, user := w.as("proxy_admin_viewer", "v"), w.as("internal_user", "u")
	require.NotEmpty(t, audits(w.call(viewer, "GET", "/audit", "").ok()))
	w.call(user, "GET", "/audit", "").refused(403)
	w.call(user, "GET", "/audit/x", "").refused(403)
	w.audited(deafAudit{})
	w.get("/audit").refused(503)
	w.get("/audit/x").refused(503)
	w.audited(nil)
	require.Equal(t, []any{}, w.get("/audit").ok()["audit_logs"])
	w.get("/audit/x").refused(404)
}
