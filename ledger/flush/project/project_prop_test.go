package project_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// gens of values that are hard on a database.
var (
	anyText  = rapid.OneOf(rapid.SampledFrom([]string{"", "x", "O'Brien", `a\"b`, "{,}", "NULL", "ünï", "\u2028", "a\tb"}), rapid.StringN(0, 12, 40))
	anyMoney = rapid.Custom(func(t *rapid.T) *unit.Money {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		m := unit.Money(rapid.Int64Range(0, 1e15).Draw(t, "amount"))
		return &m
	})
	anyLimit = rapid.Custom(func(t *rapid.T) *int64 {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		n := rapid.Int64Range(0, 1<<31-1).Draw(t, "limit")
		return &n
	})
	anyDuration = rapid.SampledFrom([]string{"", "1d", "7d", "30d", "2mo", "45s"})
	anyJSON     = rapid.SampledFrom([]string{`{"a":1}`, `{"deep":{"x":[1,2,{"y":null}]}}`, `{"t":"ü\u0000"}`, `{"n":12345678901234567890.5}`, `{"":""}`})
)

func stripped(s string) string {
	out := []rune{}
	for _, r := range s {
		if r != 0 && r != 0xfffd {
			out = append(out, r)
		}
	}
	return string(out)
}

// TestProperty_AnotherClusterReadsBackWhatWasProjected: whatever changes in
// whatever order, the tables hold what the state holds, and a cluster that finds
// the database comes to the same state.
func TestProperty_AnotherClusterReadsBackWhatWasProjected(t *testing.T) {
	w := newWorld(t)
	// Each check is some hundred transactions; a given number of checks is run
	// whole only where it is asked for (-rapid.checks).
	last := time.Now().Add(15 * time.Second)
	asked := flag.Lookup("rapid.checks").Value.String() != "100"
	rapid.Check(t, func(rt *rapid.T) {
		if !asked && time.Now().After(last) {
			return
		}
		w.clear()
		p := w.projector("c1")
		text := func(label string) string { return stripped(anyText.Draw(rt, label)) }
		id := func(label string, n int) string { return fmt.Sprint(label, rapid.IntRange(0, n).Draw(rt, label)) }
		spending := func() model.Spending {
			return model.Spending{MaxBudget: anyMoney.Draw(rt, "max"), BudgetDuration: anyDuration.Draw(rt, "duration")}
		}
		limits := func() model.Limits {
			return model.Limits{RPM: anyLimit.Draw(rt, "rpm"), TPM: anyLimit.Draw(rt, "tpm"), Parallel: anyLimit.Draw(rt, "parallel")}
		}
		m := func() model.Meta {
			return model.Meta{CreatedAt: w.now, UpdatedAt: w.now, CreatedBy: "someone", UpdatedBy: "someone"}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"key": func(*rapid.T) {
				w.put(model.Put(model.Keys, &model.Key{Meta: m(), Hash: hash(id("key", 5)), Alias: text("alias"), UserID: id("u", 3), BudgetID: id("b", 3), OrganizationID: id("o", 2),
					Spending: spending(), Limits: limits(), Metadata: json.RawMessage(anyJSON.Draw(rt, "metadata")), Models: []string{text("model"), "gpt"},
					Blocked: rapid.Bool().Draw(rt, "blocked"), Tags: []string{"a" + text("tag")}}, nil))
			},
			"user": func(*rapid.T) {
				w.put(model.Put(model.Users, &model.User{Meta: m(), ID: id("u", 3), Alias: text("alias"), Role: "internal_user", Spending: spending(), Limits: limits()}, nil))
			},
			"team": func(*rapid.T) {
				w.put(model.Put(model.Teams, &model.Team{Meta: m(), ID: id("t", 3), Alias: text("alias"), Spending: spending(), OrganizationID: id("o", 2),
					ModelAliases: map[string]string{"m" + text("from"): "gpt"}}, nil))
			},
			"budget": func(*rapid.T) {
				w.put(model.Put(model.Budgets, &model.Budget{Meta: m(), ID: id("b", 3), Spending: spending(), Limits: limits()}, nil))
			},
			"organization": func(*rapid.T) {
				w.put(model.Put(model.Organizations, &model.Organization{Meta: m(), ID: id("o", 2), Alias: text("alias")}, nil))
			},
			"delete": func(*rapid.T) {
				what := rapid.SampledFrom([]struct {
					table model.Table
					id    string
				}{{model.Keys, hash(id("key", 5))}, {model.Users, id("u", 3)}, {model.Teams, id("t", 3)}, {model.Budgets, id("b", 3)}, {model.Organizations, id("o", 2)}}).Draw(rt, "what")
				w.put(model.Delete(what.table, what.id, nil))
			},
			"project":   func(*rapid.T) { w.must(p.Sync(context.Background())) },
			"restart":   func(*rapid.T) { p = w.projector("c1") },
			"time goes": func(*rapid.T) { w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(rt, "hours")) * time.Hour) },
		})
		w.must(p.Sync(context.Background()))
		if n := p.Stats().Refused; n != 0 {
			rt.Fatalf("%d rows were refused", n)
		}
		before := w.store.State()
		w.newState()
		w.must(w.projector("c2").Sync(context.Background()))
		after := w.store.State()
		same(rt, "key", before.Keys, after.Keys)
		same(rt, "team", before.Teams, after.Teams)
		same(rt, "budget", before.Budgets, after.Budgets)
		same(rt, "organization", before.Organizations, after.Organizations)
		same(rt, "user", before.Users, after.Users)
	})
}

// clear makes state and database as new.
func (w *world) clear() {
	w.newState()
	w.exec(`DO $$ DECLARE t text; BEGIN
		FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND (tablename LIKE 'LiteLLM%' OR tablename IN ('gateway_spend', 'gateway_projected', 'gateway_state_cursor'))
		LOOP EXECUTE format('DELETE FROM %I', t); END LOOP; END $$`)
}

// same compares tables but for what a change of clusters changes: versions, who
// wrote last, and what the tables of LiteLLM cannot tell apart.
func same[E model.Entity](t *rapid.T, what string, before, after *state.Table[E]) {
	ids := after.IDs()
	if what == "user" {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == "default_user_id" })
	}
	if want := before.IDs(); !slices.Equal(want, ids) {
		t.Fatalf("%ss %q came back as %q", what, want, ids)
	}
	for id, b := range before.All() {
		a, _ := after.Get(id)
		x, y := fields(b), fields(a)
		if !reflect.DeepEqual(x, y) {
			t.Fatalf("%s %s\n was %v\n  is %v", what, id, x, y)
		}
	}
}

func fields(e model.Entity) map[string]any {
	data, _ := json.Marshal(e)
	out := map[string]any{}
	_ = json.Unmarshal(data, &out)
	for _, n := range []string{"created_index", "version", "updated_at", "updated_by", "created_at", "created_by"} {
		delete(out, n)
	}
	if m, ok := out["metadata"].(map[string]any); ok { // PostgreSQL has no character 0
		for k, v := range m {
			if s, ok := v.(string); ok {
				m[k] = stripped(s)
			}
		}
	}
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}
