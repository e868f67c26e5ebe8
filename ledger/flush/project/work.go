package project

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"tollgate/config/model"
	"tollgate/config/state"
)

// form is raised when rows come to look different: everything is written anew.
const form = 1

// work is one turn of one node at the projection.
type work struct {
	p  *Projector
	db *pgx.Conn

	done   *state.Snapshot // what the tables show; nil: unknown, it has to be compared
	at     time.Time       // of the clock when they did
	resets time.Time       // when the first of the windows ends; zero: none does

	ends map[string]time.Time // the same by kind

	links    map[string]map[string]string // by table and column: SQL for what a foreign key lets in
	archives map[string][]string          // columns that a table and its archive share
	shown    time.Time                    // when progress was last told
	total    int
	written  int
}

// marker names the row that says which cluster has taken the database over.
func (p *Projector) marker() string { return Marker(p.cfg.Cluster) }

// pass brings the tables in step with one state.
func (w *work) pass(ctx context.Context, s *state.Snapshot) error {
	now := w.p.cfg.Clock.Now()
	reset := !w.resets.IsZero() && !now.Before(w.resets)
	if w.done != nil && w.done.Index == s.Index && !reset && w.done.Routing == s.Routing {
		return nil
	}
	v := w.p.view(s, now, func(id string, err error) {
		w.p.note(func(st *Stats) { st.Refused++ })
		w.p.cfg.Logger.Warn("row not written", "id", shortID(id), "error", err)
	})
	w.total, w.written, w.shown = 0, 0, now
	todo := make([]plan, 0, len(kinds))
	first := time.Time{}
	for i := range kinds {
		pl := plan{kind: &kinds[i]}
		var err error
		if w.done == nil {
			err = w.compare(ctx, v, &pl)
		} else {
			w.difference(v, reset, &pl)
		}
		if err != nil {
			return err
		}
		first = earlier(first, pl.first)
		w.total += len(pl.due) + len(pl.light) + len(pl.gone)
		todo = append(todo, pl)
	}
	for i := range todo { // what is pointed at first
		if err := w.write(ctx, v, &todo[i]); err != nil {
			return err
		}
	}
	for i := range todo { // what points first
		if err := w.remove(ctx, &todo[len(todo)-1-i]); err != nil {
			return err
		}
	}
	if _, err := w.db.Exec(ctx, `INSERT INTO gateway_state_cursor (name, index) VALUES ('projection', $1)
		ON CONFLICT (name) DO UPDATE SET index = excluded.index, updated_at = now()`, int64(s.Index)); err != nil {
		return fmt.Errorf("projection: move the cursor: %w", err)
	}
	w.resets, w.ends = first, map[string]time.Time{}
	for i := range todo {
		w.ends[todo[i].name] = todo[i].first
	}
	if w.done == nil {
		if _, err := w.db.Exec(ctx, `INSERT INTO gateway_state_cursor (name, index) VALUES ('projection_form', $1)
			ON CONFLICT (name) DO UPDATE SET index = excluded.index, updated_at = now()`, int64(form)); err != nil {
			return fmt.Errorf("projection: note the form: %w", err)
		}
	}
	if w.total >= progressAt {
		w.p.cfg.Logger.Info("projection caught up", "rows", w.written, "index", s.Index)
	}
	w.done, w.at = s, now
	return nil
}

// plan is what has to happen in one table.
type plan struct {
	*kind
	due   []string  // to be written
	light []string  // taken over and unchanged since: only its sums are written
	gone  []string  // to be deleted
	first time.Time // when the first of the windows seen ends
}

// compare holds the state against what the database says was written of it.
// Both come in order, so neither has to be held whole.
func (w *work) compare(ctx context.Context, v *view, pl *plan) error {
	rows, err := w.db.Query(ctx, `SELECT id, CASE WHEN $2 THEN version WHEN version > 0 THEN -1 ELSE version END, window_start
		FROM gateway_projected WHERE kind = $1 ORDER BY id COLLATE "C"`, pl.name, w.sameForm(ctx))
	if err != nil {
		return fmt.Errorf("projection: read what was written of %s: %w", pl.table, err)
	}
	defer rows.Close()
	var id string
	var version, window int64
	more := rows.Next()
	read := func() error {
		if !more {
			return nil
		}
		return rows.Scan(&id, &version, &window)
	}
	if err := read(); err != nil {
		return fmt.Errorf("projection: read what was written of %s: %w", pl.table, err)
	}
	for _, want := range sorted(pl.kind, v.s) {
		for more && id < want {
			pl.gone = append(pl.gone, id)
			more = rows.Next()
			if err := read(); err != nil {
				return fmt.Errorf("projection: read what was written of %s: %w", pl.table, err)
			}
		}
		b, ok := pl.brief(v.s, want)
		if !ok {
			continue
		}
		at := v.spans(&b)
		pl.ends(at.end)
		switch known := more && id == want; {
		case known && version == 0 && b.untouched():
			pl.light = append(pl.light, want)
		case !known, version != int64(b.version), window != at.tick:
			pl.due = append(pl.due, want)
		}
		if more && id == want {
			more = rows.Next()
			if err := read(); err != nil {
				return fmt.Errorf("projection: read what was written of %s: %w", pl.table, err)
			}
		}
	}
	for more {
		pl.gone = append(pl.gone, id)
		more = rows.Next()
		if err := read(); err != nil {
			return fmt.Errorf("projection: read what was written of %s: %w", pl.table, err)
		}
	}
	return rows.Err()
}

func (pl *plan) ends(end time.Time) { pl.first = earlier(pl.first, end) }

// earlier is the first of two moments; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// otherWindows reports whether objects of a kind may spend in other windows
// though they have not changed: by what they point at, or by settings.
func otherWindows(kind string, old, s *state.Snapshot) bool {
	return old.Routing != s.Routing || old.Budgets != s.Budgets || old.ActiveConfig() != s.ActiveConfig() ||
		kind == memberKind && old.Teams != s.Teams
}

// difference finds what changed since the last pass: what has a newer version,
// points at something that is new, or spends in another window by now.
func (w *work) difference(v *view, reset bool, pl *plan) {
	old := w.done
	moved := otherWindows(pl.name, old, v.s)
	same := pl.same(old, v.s)
	fresh := appeared(old, v.s)
	if same && !reset && !moved && len(fresh) == 0 {
		pl.first = w.ends[pl.name]
		return
	}
	was := w.p.view(old, w.at, nil)
	for id, version := range pl.versions(v.s) {
		b, ok := pl.brief(v.s, id)
		if !ok {
			continue
		}
		due := version > old.Index || b.budget != "" && fresh[b.budget] || b.org != "" && fresh[b.org]
		at := v.spans(&b)
		pl.ends(at.end)
		if !due && (reset || moved) {
			before := was.spans(&b)
			due = before.shown != at.shown || before.tick != at.tick
		}
		if due {
			pl.due = append(pl.due, id)
		}
	}
	if same {
		return
	}
	for id := range pl.versions(old) {
		if _, ok := pl.brief(v.s, id); !ok {
			pl.gone = append(pl.gone, id)
		}
	}
}

// appeared names the budgets and organizations that were made since: rows that
// point at them could not before.
func appeared(old, s *state.Snapshot) map[string]bool {
	var out map[string]bool
	note := func(id string) {
		if out == nil {
			out = map[string]bool{}
		}
		out[id] = true
	}
	if old.Budgets != s.Budgets {
		for id, b := range s.Budgets.All() {
			if b.CreatedIndex > old.Index {
				note(id)
			}
		}
	}
	if old.Organizations != s.Organizations {
		for id, o := range s.Organizations.All() {
			if o.CreatedIndex > old.Index {
				note(id)
			}
		}
	}
	return out
}

// sameForm reports whether rows were written as this release writes them.
func (w *work) sameForm(ctx context.Context) bool {
	var have int64
	err := w.db.QueryRow(ctx, "SELECT index FROM gateway_state_cursor WHERE name = 'projection_form'").Scan(&have)
	return err == nil && have == form
}

// progressAt is how many rows make a pass worth telling of, progressEvery how
// often it is told.
const (
	progressAt    = 5000
	progressEvery = 3 * time.Second
)

func (w *work) progress(kind *kind, rows int) {
	w.written += rows
	w.p.note(func(s *Stats) { s.Rows += uint64(rows) })
	if now := w.p.cfg.Clock.Now(); w.total >= progressAt && now.Sub(w.shown) >= progressEvery {
		w.shown = now
		w.p.cfg.Logger.Info("projection under way", "table", kind.table, "rows", w.written, "of", w.total)
	}
}

// begin opens a transaction that holds only while the database is this
// cluster's.
func (w *work) begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := w.db.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("projection: begin: %w", err)
	}
	var one int
	err = tx.QueryRow(ctx, "SELECT 1 FROM gateway_state_cursor WHERE name = $1 FOR SHARE", w.p.marker()).Scan(&one)
	if err != nil {
		rollback(ctx, tx)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, errTakenOver
		}
		return nil, fmt.Errorf("projection: look whose database it is: %w", err)
	}
	return tx, nil
}

// rollback gives a transaction up; what it says is no news after a fault.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer end()
	_ = tx.Rollback(ctx)
}

// shortID is an id as logs show it: key hashes are cut.
func shortID(id string) string {
	if len(id) > 16 {
		return id[:16] + "…"
	}
	return id
}

// scopeOf is the scope of a level for the rows of a kind.
func scopeOf(dim model.Dim, id string) model.Scope { return model.Scope{Dim: dim, ID: id} }
