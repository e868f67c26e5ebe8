package project_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/flush/project"
)

// running runs a projector, and gives what moves its clock.
func (w *world) running() (pass func(time.Duration)) {
	w.t.Helper()
	var now atomic.Int64
	now.Store(w.now.UnixNano())
	cfg := w.config("c1")
	cfg.Clock = unit.ClockFunc(func() time.Time { return time.Unix(0, now.Load()).UTC() })
	p, err := project.New(cfg)
	w.must(err)
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	w.t.Cleanup(func() { end(); <-done })
	return func(d time.Duration) { now.Add(int64(d)) }
}

// caughtUp waits until the tables show the state.
func (w *world) caughtUp() {
	w.t.Helper()
	w.eventually(fmt.Sprint(w.index), `SELECT index FROM gateway_state_cursor WHERE name = 'projection'`)
}

func TestWindowsEndAlsoAfterSomethingElseHasChanged(t *testing.T) {
	w := newWorld(t)
	w.sample()
	tomorrow := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES ('user', 'u1', $1, 70000000)`, tomorrow.Unix())
	pass := w.running()
	w.caughtUp()
	w.wants("1.25", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)

	w.put(model.Put(model.Tags, &model.Tag{Name: "green"}, nil)) // has no window
	w.caughtUp()
	pass(24 * time.Hour)
	w.eventually("0.07", `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'u1'`)
	w.eventually("2026-11-20T00:00:00.000", `SELECT budget_limits->0->>'reset_at' FROM "LiteLLM_TeamTable"`)
}

func TestSharedBudgetThatGetsAnotherDurationChangesWhatItsRowsShow(t *testing.T) {
	w := newWorld(t)
	w.sample()
	start := func(duration string) int64 {
		d, err := unit.ParseWindow(duration)
		w.must(err)
		from, _ := d.Span(w.now, born, time.UTC)
		return from.Unix()
	}
	w.exec(`INSERT INTO gateway_spend (level, id, window_start, spend_nanos) VALUES
		('end_user', 'customer', 0, 9000000000), ('end_user', 'customer', $1, 8000000000), ('end_user', 'customer', $2, 70000000)`, start("1mo"), start("1d"))
	w.running()
	w.caughtUp()
	w.wants("8", `SELECT spend FROM "LiteLLM_EndUserTable" WHERE user_id = 'customer'`)

	b, _ := w.store.State().Budgets.Get("b1")
	daily := *b
	daily.BudgetDuration = "1d"
	w.put(model.Put(model.Budgets, &daily, nil))
	w.eventually("0.07", `SELECT spend FROM "LiteLLM_EndUserTable" WHERE user_id = 'customer'`)
}
