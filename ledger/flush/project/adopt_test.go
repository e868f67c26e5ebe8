package project_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/flush/project"
)

// keysInTable writes rows of keys as LiteLLM would, without the state.
func (w *world) keysInTable(n int) {
	w.exec(`INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, spend)
		SELECT encode(sha256(('sk-' || i)::bytea), 'hex'), 'key ' || i, i FROM generate_series(1, $1::int) i`, n)
}

func TestWhatTheStateHasIsLeftAsItIs(t *testing.T) {
	w := newWorld(t)
	w.keysInTable(250)
	w.put(model.Put(model.Keys, &model.Key{Hash: hash("sk-7"), Alias: "ours"}, nil))
	// One more is made by somebody else between the reading and the proposal.
	raced := false
	w.propose = func(context.Context, model.Mutation) error {
		if raced {
			return nil
		}
		raced = true
		payload, _ := json.Marshal(model.Mutation{ID: "race", Changes: []model.Change{model.Put(model.Keys, &model.Key{Hash: hash("sk-8"), Alias: "faster"}, nil)}})
		w.index++
		w.applier.Apply(w.index, w.now, 1, payload)
		w.applier.Publish()
		return nil
	}
	p := w.sync()
	if r := p.Stats().Adopted; r.Taken["key"] != 248 || r.Existed["key"] != 2 {
		t.Errorf("report %+v", r)
	}
	for key, want := range map[string]string{"sk-7": "ours", "sk-8": "faster", "sk-9": "key 9"} {
		if k, ok := w.store.State().Keys.Get(hash(key)); !ok || k.Alias != want {
			t.Errorf("%s is %+v", key, k)
		}
		w.wants(want, `SELECT key_alias FROM "LiteLLM_VerificationToken" WHERE token = $1`, hash(key))
	}
}

func TestTakingOverGoesOnWhereItWasInterrupted(t *testing.T) {
	w := newWorld(t)
	w.keysInTable(350)
	calls := 0
	w.propose = func(context.Context, model.Mutation) error {
		if calls++; calls == 3 {
			return errors.New("no leader")
		}
		return nil
	}
	p := w.projector("c1")
	if err := p.Sync(context.Background()); err == nil {
		t.Fatal("a proposal failed and nobody said so")
	}
	if n := w.store.State().Keys.Len(); n != 200 {
		t.Errorf("%d keys taken before the fault", n)
	}
	w.must(p.Sync(context.Background()))
	if n := w.store.State().Keys.Len(); n != 350 {
		t.Errorf("%d keys taken in the end", n)
	}
	w.wants("350", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
	w.wants("61425", `SELECT sum(spend) FROM "LiteLLM_VerificationToken"`)
}

func TestAFormerClusterWritesNoMore(t *testing.T) {
	w := newWorld(t)
	w.sample()
	former := w.projector("c1")
	w.must(former.Sync(context.Background()))
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- former.Run(ctx) }()
	defer func() { end(); <-done }()
	w.until("the former cluster is at work", func() bool { return former.Stats().Working })
	// Another cluster takes the database over while that one holds the lock: only
	// possible by hand, and it must do no harm.
	w.exec(`UPDATE gateway_state_cursor SET name = 'adopted/c2' WHERE name = 'adopted/c1'`)
	w.put(model.Delete(model.Keys, hash("sk-1"), nil))
	w.until("it notices", func() bool { return former.Stats().LastError != "" })
	w.wants("1", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
}

func TestSumsOfAFormerClusterCountOnce(t *testing.T) {
	w := newWorld(t)
	w.sample()
	w.sync()
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES ('tag', 'blue', 0, 2000000000)
		ON CONFLICT (level, id, window_start) DO UPDATE SET spend_nanos = excluded.spend_nanos`)
	w.exec(`UPDATE "LiteLLM_TagTable" SET spend = gateway_spent('tag', 'blue')`)
	w.newState()
	w.must(w.projector("c2").Sync(context.Background()))
	w.wants("2", `SELECT spend FROM "LiteLLM_TagTable"`)
	w.wants("2", `SELECT gateway_spent('tag', 'blue')`)
	tag, _ := w.store.State().Tags.Get("blue")
	if tag == nil || tag.SpendOffset != *usd(2) {
		t.Errorf("tag %+v", tag)
	}
}

func TestImportReadsAnotherDatabaseAndWritesNothingThere(t *testing.T) {
	w := newWorld(t)
	w.keysInTable(150)
	before := w.rows("LiteLLM_VerificationToken", "token")
	other := emptyWorld(t, w.url) // a cluster with a database of its own, or none
	c := other.config("c9")
	cfg := project.ImportConfig{URL: w.url, State: other.store, Clock: c.Clock, Logger: quiet(), SigningKey: saltKey, Seal: c.Seal, Propose: other.mutate}
	var told []string
	r, err := project.Import(context.Background(), cfg, func(done, total int, what string) { told = append(told, fmt.Sprint(done, "/", total, " ", what)) })
	if err != nil || r.Taken["key"] != 150 || len(told) != 2 || told[1] != "150/150 key" {
		t.Errorf("report %+v, progress %v (%v)", r, told, err)
	}
	r, err = project.Import(context.Background(), cfg, nil)
	if err != nil || r.Existed["key"] != 150 || r.Total() != 0 {
		t.Errorf("repeated: %+v (%v)", r, err)
	}
	if k, ok := other.store.State().Keys.Get(hash("sk-42")); !ok || k.SpendOffset != 42*unit.Dollar {
		t.Errorf("key %+v", k)
	}
	w.sameRows("keys", before, w.rows("LiteLLM_VerificationToken", "token"))
	w.wants("0", `SELECT count(*) FROM gateway_projected`)
	cfg.URL = "postgres://nobody@127.0.0.1:1/none?connect_timeout=1"
	if _, err := project.Import(context.Background(), cfg, nil); err == nil {
		t.Error("a database that is not there gave no error")
	}
}

func TestProjectionGoesOnWhenPostgreSQLComesBack(t *testing.T) {
	server := pgtest.StartOwn(t)
	w := emptyWorld(t, server.NewDatabase(t))
	w.migrate()
	w.sample()
	p := w.projector("c1")
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	defer func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	w.until("the first projection", func() bool { return p.Stats().Healthy })
	server.Kill()
	w.put(model.Delete(model.Keys, hash("sk-1"), nil), model.Put(model.Keys, &model.Key{Hash: hash("sk-2"), Alias: "made meanwhile"}, nil))
	w.until("the fault is noticed", func() bool { return !p.Stats().Healthy })
	server.Start(t)
	w.until("the projection is back", func() bool { return p.Stats().Healthy && p.Stats().Index == w.store.State().Index })
	w.wants("made meanwhile", `SELECT string_agg(key_alias, ',') FROM "LiteLLM_VerificationToken"`)
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}
