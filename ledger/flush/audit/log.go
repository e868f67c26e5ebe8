package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"tollgate/ledger/store"
)

// Filter chooses rows; what is empty chooses all.
type Filter struct {
	By, ByKey, Action, Table, Object string
	From, To                         time.Time // To itself counts
	// Sort is a column's name, "" for updated_at; Ascending puts the smallest first.
	Sort      string
	Ascending bool
	Skip, Max int
}

// Sorts are the columns that rows can be sorted by.
func Sorts() []string {
	return []string{"id", "updated_at", "changed_by", "changed_by_api_key", "action", "table_name", "object_id"}
}

// Page is some of the rows, and how many there are in all.
type Page struct {
	Rows  []Row
	Total int
}

// ErrNone says that there is no row with an id.
var ErrNone = errors.New("no such audit record")

// Querier is a connection, or a pool of them.
type Querier interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Log answers questions about changes: from this node's records, and from
// PostgreSQL when they reach further back.
type Log struct {
	cfg      Config
	database Querier
}

// NewLog makes a log; database nil: this node's records are all there is.
func NewLog(cfg Config, database Querier) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Log{cfg, database}, nil
}

// List finds rows.
func (l *Log) List(ctx context.Context, f Filter) (Page, error) {
	if l.database != nil {
		reaches, err := l.reaches(f.From)
		if err != nil {
			return Page{}, err
		}
		if !reaches {
			page, err := l.stored(ctx, f)
			if err == nil || ctx.Err() != nil {
				return page, err
			}
			l.cfg.Logger.Warn("audit records of the database not readable: those of this node answer", "error", err)
		}
	}
	heads, err := l.heads(0, f)
	if err != nil {
		return Page{}, err
	}
	page := Page{Total: len(heads)}
	from := min(f.Skip, len(heads))
	page.Rows, err = l.load(heads[from:min(from+f.Max, len(heads))])
	return page, err
}

// Get finds one row.
func (l *Log) Get(ctx context.Context, id string) (Row, error) {
	for ch, err := range l.walk(0) {
		if err != nil {
			return Row{}, err
		}
		if l.cfg.id(ch.Audit) == id {
			return l.cfg.row(&ch), nil
		}
	}
	if l.database == nil {
		return Row{}, ErrNone
	}
	return l.storedOne(ctx, id)
}

// slack is how far the clocks of two leaders may be apart: the order of records
// and that of their times then differ.
const slack = 10 * time.Minute

// reaches reports whether this node's records are all there are since a time.
// Before the first of them LiteLLM itself may have written some.
func (l *Log) reaches(since time.Time) (bool, error) {
	from, _, err := l.cfg.Ledger.AuditsFrom()
	if err != nil {
		return false, fmt.Errorf("audit log: %w", err)
	}
	if since.IsZero() {
		return false, nil
	}
	for r, err := range l.cfg.Ledger.Audits(max(from, 1) - 1) {
		if err != nil {
			return false, fmt.Errorf("audit log: %w", err)
		}
		return r.At.Before(since.Add(-slack)), nil
	}
	return false, nil
}

// walk gives this node's changes after a log entry, oldest first.
func (l *Log) walk(after uint64) iter.Seq2[change, error] {
	return func(yield func(change, error) bool) {
		for records, err := range entries(l.cfg.Ledger, after) {
			if err != nil {
				yield(change{}, err)
				return
			}
			for _, ch := range changes(records) {
				if !yield(ch, nil) {
					return
				}
			}
		}
	}
}

// entries gives records in groups that belong to one log entry each. A group
// is good until the next.
func entries(l *store.Ledger, after uint64) iter.Seq2[[]store.Audit, error] {
	return func(yield func([]store.Audit, error) bool) {
		var group []store.Audit
		for r, err := range l.Audits(after) {
			if err != nil {
				yield(nil, fmt.Errorf("audit log: %w", err))
				return
			}
			if len(group) > 0 && group[0].Index != r.Index {
				if !yield(group, nil) {
					return
				}
				group = group[:0]
			}
			group = append(group, r)
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

// head is a row without its values, and where to find them.
type head struct {
	Row
	index uint64
	part  uint32
}

// heads finds this node's rows after a log entry, sorted. Values stay on disk:
// there may be many rows.
func (l *Log) heads(after uint64, f Filter) ([]head, error) {
	var out []head
	for ch, err := range l.walk(after) {
		if err != nil {
			return nil, err
		}
		if h := (head{l.cfg.head(&ch), ch.Index, ch.Part}); f.takes(&h.Row) {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b head) int {
		d := cmp.Or(compareBy(f.Sort, &a.Row, &b.Row), cmp.Compare(a.index, b.index), cmp.Compare(a.part, b.part))
		if !f.Ascending {
			d = -d
		}
		return d
	})
	return out, nil
}

func (f *Filter) takes(r *Row) bool {
	at := time.Time(r.At)
	for _, c := range [][2]string{{f.By, r.By}, {f.ByKey, r.ByKey}, {f.Action, r.Action}, {f.Table, r.Table}, {f.Object, r.Object}} {
		if c[0] != "" && c[0] != c[1] {
			return false
		}
	}
	return !at.Before(f.From) && (f.To.IsZero() || !at.After(f.To))
}

func compareBy(column string, a, b *Row) int {
	switch column {
	case "id":
		return cmp.Compare(a.ID, b.ID)
	case "changed_by":
		return cmp.Compare(a.By, b.By)
	case "changed_by_api_key":
		return cmp.Compare(a.ByKey, b.ByKey)
	case "action":
		return cmp.Compare(a.Action, b.Action)
	case "table_name":
		return cmp.Compare(a.Table, b.Table)
	case "object_id":
		return cmp.Compare(a.Object, b.Object)
	}
	return time.Time(a.At).Compare(time.Time(b.At))
}

// load reads the values of rows.
func (l *Log) load(heads []head) ([]Row, error) {
	rows := make([]Row, 0, len(heads))
	for i := range heads {
		row := heads[i].Row
		for records, err := range entries(l.cfg.Ledger, heads[i].index-1) {
			if err != nil {
				return nil, err
			}
			for _, ch := range changes(records) {
				if ch.Index == heads[i].index && ch.Part == heads[i].part {
					row = l.cfg.row(&ch)
				}
			}
			break
		}
		rows = append(rows, row)
	}
	return rows, nil
}
