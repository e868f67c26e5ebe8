package project

import (
	"iter"
	"slices"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
)

// kind is one kind of object with the table that shows it.
type kind struct {
	name    string   // in gateway_projected
	table   string   // LiteLLM's
	key     []string // columns with the parts of its id
	unique  []string // columns of the unique index that its rows meet in; nil: key
	columns []string // all that are written, without spend
	// spent is the SQL for what one row r has spent; "" when the table has no such
	// column. resets says that it has budget_reset_at.
	spent   string
	resets  bool
	archive string // where deleted rows go; "": nowhere

	objects
}

// objects is how a kind is found in the state.
type objects interface {
	// same reports whether nothing of the kind changed between two states.
	same(a, b *state.Snapshot) bool
	// versions walks all, in any order.
	versions(s *state.Snapshot) iter.Seq2[string, uint64]
	// brief is what decides whether an object's row is due.
	brief(s *state.Snapshot, id string) (brief, bool)
	// row is an object as its table shows it.
	row(v *view, id string) (any, bool)
}

// brief is what an object is apart from its columns.
type brief struct {
	version, created uint64
	scope            model.Scope     // of its spend; zero: it has none
	spending         *model.Spending // nil: what counts beside its sums is not the state's
	budget, org      string          // what it points at
	anchor           time.Time       // from which windows count that no calendar fixes
	windows          []model.BudgetWindow
}

// untouched reports whether the object is as it was when it was made.
func (b *brief) untouched() bool { return b.version == b.created }

// view is a state at a moment, with what rows are made with.
type view struct {
	s      *state.Snapshot
	now    time.Time
	loc    *time.Location
	p      *Projector
	faults func(id string, err error)
}

func (p *Projector) view(s *state.Snapshot, now time.Time, faults func(string, error)) *view {
	v := &view{s: s, now: now, loc: time.UTC, p: p, faults: faults}
	if s.Routing != nil && s.Routing.Location != nil {
		v.loc = s.Routing.Location
	}
	return v
}

// spans are the budget windows of an object that are open at a moment.
type spans struct {
	shown int64     // start of the one whose spend its row shows; 0: it never ends
	tick  int64     // start of the last that has begun: when it changes the row is due
	end   time.Time // of the first to end; zero: none does
}

// spans finds the window in which an object spends now, as the management API
// shows it, and the others that its row tells of.
func (v *view) spans(b *brief) spans {
	var out spans
	note := func(w unit.Window, anchor time.Time) int64 {
		from, end := w.Span(v.now, anchor, v.loc)
		if from.IsZero() {
			return 0
		}
		out.tick = max(out.tick, from.Unix())
		if out.end.IsZero() || end.Before(out.end) {
			out.end = end
		}
		return from.Unix()
	}
	if b.spending != nil {
		if own, err := unit.ParseWindow(b.spending.BudgetDuration); err == nil {
			out.shown = note(own, b.anchor)
		}
	}
	if b.scope != (model.Scope{}) {
		if def, ok := v.s.BudgetOf(b.scope); ok {
			out.shown = max(note(def.Window, def.Anchor), def.From)
		}
	}
	for _, w := range b.windows {
		if own, err := unit.ParseWindow(w.Duration); err == nil {
			note(own, b.anchor)
		}
	}
	return out
}

// resetAt is when the window of a duration ends that is open now.
func (v *view) resetAt(duration string, anchor time.Time) *stamp {
	w, err := unit.ParseWindow(duration)
	if err != nil || w.Endless() {
		return nil
	}
	_, end := w.Span(v.now, anchor, v.loc)
	return moment(end)
}

// table finds a kind in one table of the state.
type table[E model.Entity] struct {
	of    func(*state.Snapshot) *state.Table[E]
	about func(E) brief // version apart
	made  func(E) uint64
	show  func(*view, E) any // nil: the database gets no row
}

func (t *table[E]) same(a, b *state.Snapshot) bool { return t.of(a) == t.of(b) }

func (t *table[E]) versions(s *state.Snapshot) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for id, e := range t.of(s).All() {
			if !yield(id, e.EntityVersion()) {
				return
			}
		}
	}
}

func (t *table[E]) brief(s *state.Snapshot, id string) (brief, bool) {
	e, ok := t.of(s).Get(id)
	if !ok {
		return brief{}, false
	}
	b := t.about(e)
	b.version, b.created = e.EntityVersion(), t.made(e)
	return b, true
}

func (t *table[E]) row(v *view, id string) (any, bool) {
	e, ok := t.of(v.s).Get(id)
	if !ok {
		return nil, false
	}
	r := t.show(v, e)
	return r, r != nil
}

// sorted lists a kind's ids in the order of the database's "C" collation.
func sorted(k *kind, s *state.Snapshot) []string {
	var ids []string
	for id := range k.versions(s) {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// stamp is a moment as the tables keep it: in UTC, without a zone, to the
// millisecond.
type stamp string

func moment(t time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	s := stamp(t.UTC().Format("2006-01-02T15:04:05.000"))
	return &s
}

func momentOf(t *time.Time) *stamp {
	if t == nil {
		return nil
	}
	return moment(*t)
}

// made is a time that a column must have.
func made(t time.Time) stamp {
	if t.IsZero() {
		return "1970-01-01T00:00:00.000"
	}
	return *moment(t)
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// who is an author that a column must have.
func who(s string) string {
	if s == "" {
		return "default_user_id"
	}
	return s
}

func usd(m *unit.Money) *float64 {
	if m == nil {
		return nil
	}
	f := m.USD()
	return &f
}

// small fits a count into INTEGER.
func small(n *int64) *int64 {
	if n == nil {
		return nil
	}
	v := min(*n, 1<<31-1)
	return &v
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// kept is an extra field as its column takes it, or what stands for none.
func kept(v []byte, otherwise string) rawJSON {
	if len(v) == 0 || string(v) == "null" {
		return rawJSON(otherwise)
	}
	return rawJSON(v)
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = `"` + n + `"`
	}
	return strings.Join(out, ", ")
}
