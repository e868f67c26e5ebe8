package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// adopter is who made what was taken over.
const adopter = "litellm"

// Report counts what a database gave.
type Report struct {
	Taken   map[string]int // by kind: made in the state
	Existed map[string]int // stood in the state already and were left
	Left    map[string]int // could not be taken over
	Reasons []string       // of the first of those, one a line
}

// Total is how many objects were taken over.
func (r *Report) Total() (n int) {
	for _, c := range r.Taken {
		n += c
	}
	return n
}

func count(m *map[string]int, kind string, n int) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[kind] += n
}

// mostReasons bounds what a report repeats of what the log has in full.
const mostReasons = 200

// adoptOnce reads the database when this cluster has not done so before. What
// stands in it is in nobody's state yet: LiteLLM wrote it, or a cluster that is
// gone.
func (w *work) adoptOnce(ctx context.Context) error {
	rows, err := w.db.Query(ctx, "SELECT name FROM gateway_state_cursor WHERE name LIKE 'adopted/%'")
	if err != nil {
		return fmt.Errorf("look whose database it is: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look whose database it is: %w", err)
	}
	for _, name := range names {
		if name == w.p.marker() {
			return nil
		}
	}
	if len(names) > 0 {
		if err := w.takeFrom(ctx, names[0]); err != nil {
			return err
		}
	}
	c := &w.p.cfg
	a := &adoption{db: w.db, base: c.State.State(), now: c.Clock.Now(), view: w.p.view, cipher: &w.p.cipher, seal: c.Seal,
		propose: c.Propose, logger: c.Logger, mark: w.markTaken}
	err = a.run(ctx)
	w.p.note(func(s *Stats) { s.Adopted = a.report })
	if err != nil {
		return err
	}
	if _, err := w.db.Exec(ctx, "INSERT INTO gateway_state_cursor (name, index) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
		w.p.marker(), int64(c.State.State().Index)); err != nil {
		return fmt.Errorf("note that the database was taken over: %w", err)
	}
	return nil
}

// takeFrom ends what another cluster has noted in this database. Its objects
// are in LiteLLM's tables, and with them what they have spent; that cluster's
// sums are in these amounts and must not count a second time.
func (w *work) takeFrom(ctx context.Context, former string) error {
	w.p.cfg.Logger.Warn("database was written by another cluster: taking it over", "former", former)
	tx, err := w.db.Begin(ctx)
	if err != nil {
		return fmt.Errorf("take the database over: %w", err)
	}
	defer rollback(ctx, tx)
	for _, sql := range []string{
		"DELETE FROM gateway_state_cursor WHERE name LIKE 'adopted/%' OR name IN ('projection', 'audit')",
		"DELETE FROM gateway_projected",
		`DELETE FROM gateway_spend WHERE level IN ('api_key', 'user', 'team', 'team_member', 'organization', 'organization_member', 'end_user', 'tag', 'proxy')`,
		"SELECT gateway_carry_spend()",
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("take the database over: %w", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("take the database over: %w", err)
	}
	return nil
}

// markTaken notes rows that now stand for objects of the state: unchanged since,
// they are not written again.
func (w *work) markTaken(ctx context.Context, kind string, ids []string) error {
	_, err := w.db.Exec(ctx, `INSERT INTO gateway_projected (kind, id, version) SELECT $1, unnest($2::text[]), 0 ON CONFLICT DO NOTHING`, kind, ids)
	if err != nil {
		return fmt.Errorf("note what was taken over: %w", err)
	}
	return nil
}

// adoption reads one database and proposes what it finds.
type adoption struct {
	db       *pgx.Conn
	base     *state.Snapshot
	now      time.Time
	view     func(*state.Snapshot, time.Time, func(string, error)) *view
	cipher   *atRest
	seal     func(*model.Deployment) error
	propose  func(context.Context, model.Mutation) error
	logger   *slog.Logger
	progress func(done, total int, what string)
	mark     func(ctx context.Context, kind string, ids []string) error // nil: the database is not ours

	found       []*found
	byID        map[string]*found // kind, then id
	credentials map[string]map[string]string
	storesModel bool // LiteLLM's own saved settings turn models of the database on
	report      Report
}

// found is one object that was read.
type found struct {
	kind    string
	table   model.Table
	entity  model.Entity
	spend   json.Number
	resetAt *time.Time // when LiteLLM would have set the spend back
}

// leave notes that a row is not taken over.
func (a *adoption) leave(kind, id, why string) {
	count(&a.report.Left, kind, 1)
	if len(a.report.Reasons) < mostReasons {
		a.report.Reasons = append(a.report.Reasons, kind+" "+shortID(id)+": "+why)
	}
	a.logger.Warn("not taken over", "kind", kind, "id", shortID(id), "reason", why)
}

// remark notes that a row is taken over, but not all of it.
func (a *adoption) remark(kind, id, why string) {
	if len(a.report.Reasons) < mostReasons {
		a.report.Reasons = append(a.report.Reasons, kind+" "+shortID(id)+", taken over: "+why)
	}
	a.logger.Warn("taken over in part", "kind", kind, "id", shortID(id), "reason", why)
}

// take notes an object that was read; one that the state has already is left.
func (a *adoption) take(f *found) {
	id := f.entity.EntityID()
	switch {
	case id == "":
		a.leave(f.kind, "", "it has no id")
		return
	case exists(a.base, f.table, id):
		count(&a.report.Existed, f.kind, 1)
		return
	case a.byID[f.kind+"\x00"+id] != nil:
		return
	}
	a.found = append(a.found, f)
	a.byID[f.kind+"\x00"+id] = f
}

func exists(s *state.Snapshot, t model.Table, id string) (ok bool) {
	switch t {
	case model.Keys:
		_, ok = s.Keys.Get(id)
	case model.Users:
		_, ok = s.Users.Get(id)
	case model.Teams:
		_, ok = s.Teams.Get(id)
	case model.Members:
		_, ok = s.Members.Get(id)
	case model.Budgets:
		_, ok = s.Budgets.Get(id)
	case model.EndUsers:
		_, ok = s.EndUsers.Get(id)
	case model.Models:
		_, ok = s.Models.Get(id)
	case model.Organizations:
		_, ok = s.Organizations.Get(id)
	case model.OrgMembers:
		_, ok = s.OrgMembers.Get(id)
	case model.Tags:
		_, ok = s.Tags.Get(id)
	}
	return ok
}

func (a *adoption) run(ctx context.Context) error {
	a.byID = map[string]*found{}
	for _, read := range []func(context.Context) error{
		a.budgets, a.organizations, a.users, a.teams, a.teamMembers, a.organizationMembers, a.keys, a.replacedKeys,
		a.endUsers, a.tags, a.savedSettings, a.readCredentials, a.models,
	} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	a.joinTeams()
	a.carry()
	if err := a.submit(ctx); err != nil {
		return err
	}
	if a.report.Total()+len(a.report.Left)+len(a.report.Existed) > 0 {
		a.logger.Info("database taken over", "taken", a.report.Taken, "existed", a.report.Existed, "left", a.report.Left)
	}
	return nil
}

// carry turns what was spent before into what counts beside this cluster's own
// sums, in the window that is open now.
func (a *adoption) carry() {
	b := state.NewBuilder(a.base)
	for _, f := range a.found {
		b.Put(f.entity)
	}
	s := b.Snapshot()
	v := a.view(s, a.now, nil)
	for _, f := range a.found {
		sp := model.SpendingOf(f.entity)
		if sp == nil || f.spend == "" || f.spend == "0" || f.resetAt != nil && !f.resetAt.After(a.now) {
			continue // its window has ended: LiteLLM would have set it to nothing
		}
		amount, err := unit.ParseMoney(f.spend.String())
		if err != nil {
			a.remark(f.kind, f.entity.EntityID(), "what it has spent is no amount: "+err.Error())
			continue
		}
		for i := range kinds {
			if kinds[i].name != f.kind {
				continue
			}
			if br, ok := kinds[i].brief(s, f.entity.EntityID()); ok {
				sp.SpendOffset, sp.SpendOffsetWindow = amount, v.spans(&br).shown
			}
		}
	}
}

// One mutation holds this much.
const (
	mutationChanges = 100
	mutationBytes   = 256 << 10
)

// submit proposes everything in order.
func (a *adoption) submit(ctx context.Context) error {
	run, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	done, sent := 0, 0
	for len(a.found) > done {
		batch, size := a.found[done:done], 0
		var changes []model.Change
		for _, f := range a.found[done:] {
			ch := model.Put(f.table, f.entity, model.Version(0))
			if len(changes) > 0 && (len(changes) == mutationChanges || size+len(ch.Value) > mutationBytes) {
				break
			}
			changes, size, batch = append(changes, ch), size+len(ch.Value), a.found[done:done+len(changes)+1]
		}
		taken, err := a.put(ctx, run.String(), &sent, batch, changes)
		if err != nil {
			return err
		}
		if err := a.noted(ctx, taken); err != nil {
			return err
		}
		done += len(batch)
		if a.progress != nil {
			a.progress(done, len(a.found), batch[0].kind)
		}
	}
	return nil
}

// put proposes one batch. What somebody has made meanwhile is left out.
func (a *adoption) put(ctx context.Context, run string, sent *int, batch []*found, changes []model.Change) ([]*found, error) {
	batch = append([]*found(nil), batch...)
	for len(changes) > 0 {
		*sent++
		m := model.Mutation{ID: "adopt-" + run + "-" + strconv.Itoa(*sent), At: a.now, By: adopter, Changes: changes}
		err := a.propose(ctx, m)
		if err == nil {
			return batch, nil
		}
		var refused *model.Refused
		if !errors.As(err, &refused) {
			return nil, fmt.Errorf("take over %d objects: %w", len(changes), err)
		}
		at := -1
		for i := range changes {
			if changes[i].Table == refused.Table && changes[i].ID == refused.ID {
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("take over %d objects: %w", len(changes), err)
		}
		count(&a.report.Existed, batch[at].kind, 1)
		changes, batch = append(changes[:at:at], changes[at+1:]...), append(batch[:at:at], batch[at+1:]...)
	}
	return nil, nil
}

// noted counts what was taken and marks its rows: after the cluster has agreed,
// since a marked row without an object would be deleted as one that is gone.
func (a *adoption) noted(ctx context.Context, taken []*found) error {
	ids := map[string][]string{}
	for _, f := range taken {
		count(&a.report.Taken, f.kind, 1)
		ids[f.kind] = append(ids[f.kind], f.entity.EntityID())
	}
	if a.mark == nil {
		return nil
	}
	for kind, list := range ids {
		if err := a.mark(ctx, kind, list); err != nil {
			return err
		}
	}
	return nil
}

// scan walks a table, each row as JSON. A table that this version of LiteLLM
// does not have is empty. Rows are read in order, so that what is found is the
// same each time.
func scan[T any](ctx context.Context, a *adoption, kind, table, key string, each func(*T)) error {
	var there bool
	if err := a.db.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", `"`+table+`"`).Scan(&there); err != nil {
		return fmt.Errorf("look for %s: %w", table, err)
	}
	if !there {
		return nil
	}
	rows, err := a.db.Query(ctx, fmt.Sprintf(`SELECT to_jsonb(t)::text FROM %q t ORDER BY %s`, table, key))
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		row := new(T)
		if err := json.Unmarshal(data, row); err != nil {
			var named struct {
				Token, UserID, TeamID, ID string
			}
			_ = json.Unmarshal(data, &named) // only to say which
			a.leave(kind, string(bytes.TrimSpace([]byte(named.Token+named.UserID+named.TeamID+named.ID))), "its row cannot be read: "+err.Error())
			return nil
		}
		each(row)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}
