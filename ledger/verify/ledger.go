package verify

import (
	"context"
	"fmt"
	"slices"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// levels are those whose spend since ever is recounted.
var levels = []model.Dim{model.DimProxy, model.DimKey, model.DimUser, model.DimTeam, model.DimOrganization, model.DimEndUser,
	model.DimTag, model.DimDeployment, model.DimProvider}

var families = []store.RollupDim{store.ByCaller, store.ByEndUser, store.ByTag}

// count is what entries add up to.
type count struct {
	rollups map[store.RollupKey]store.Sums
	spends  map[model.Scope]unit.Money
	seen    int64
}

func newCount() *count {
	return &count{rollups: map[store.RollupKey]store.Sums{}, spends: map[model.Scope]unit.Money{}}
}

func (c *count) add(e *store.Entry) {
	c.seen++
	sums := store.SumsOf(e)
	k := store.RollupKey{Day: store.DayOf(e.Start), Dim: store.ByCaller, User: e.User, Team: e.Team, Org: e.Organization,
		Key: e.Key, Model: e.Model, Group: e.Group, Provider: e.Provider, CallType: e.CallType}
	sum := func() {
		s := c.rollups[k]
		s.Add(sums)
		c.rollups[k] = s
	}
	spend := func(dim model.Dim, id string) {
		if id != "" && e.Cost.Total != 0 {
			sc := model.Scope{Dim: dim, ID: id}
			c.spends[sc] = c.spends[sc].Add(e.Cost.Total)
		}
	}
	sum()
	k.User, k.Team, k.Org = "", "", ""
	if e.EndUser != "" {
		k.Dim, k.Entity = store.ByEndUser, e.EndUser
		sum()
	}
	for i, tag := range e.Tags {
		if tag != "" && !slices.Contains(e.Tags[:i], tag) {
			k.Dim, k.Entity = store.ByTag, tag
			sum()
			spend(model.DimTag, tag)
		}
	}
	spend(model.DimProxy, model.ProxyScope().ID)
	for dim, id := range map[model.Dim]string{model.DimKey: e.Key, model.DimUser: e.User, model.DimTeam: e.Team, model.DimOrganization: e.Organization,
		model.DimEndUser: e.EndUser, model.DimDeployment: e.ModelID, model.DimProvider: e.Provider} {
		spend(dim, id)
	}
}

// Ledger checks one node's ledger, which may be in use meanwhile.
func Ledger(ctx context.Context, l *store.Ledger, progress func(what string, n int64)) (*Report, error) {
	if progress == nil {
		progress = func(string, int64) {}
	}
	last := l.LastSeq()
	if err := l.CatchUp(); err != nil {
		return nil, fmt.Errorf("verify the ledger: %w", err)
	}
	entries := Check{Name: "entries follow each other without a gap"}
	first, counted, before := (*store.Entry)(nil), newCount(), uint64(0)
	for e, err := range l.Between(1, last) {
		if err != nil {
			entries.differs("%v", err)
			continue
		}
		if first == nil {
			first = e
		} else if store.Incarnation(e.Seq) == store.Incarnation(before) && e.Seq != before+1 {
			entries.differs("%d entries are missing after %d", e.Seq-before-1, before)
		} else if store.Incarnation(e.Seq) != store.Incarnation(before) && e.Seq != store.Seq(store.Incarnation(e.Seq), 1) {
			entries.differs("start %d of the node begins with entry %d", store.Incarnation(e.Seq), e.Seq)
		}
		before = e.Seq
		counted.add(e)
		if counted.seen%10_000 == 0 {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			progress("entries", counted.seen)
		}
	}
	entries.Looked = counted.seen
	progress("entries", counted.seen)
	r := &Report{Checks: []Check{entries}}
	// Before the first kept entry others may have been dropped, whose sums stay.
	whole := int32(-1 << 31)
	switch {
	case first == nil:
		whole = 1<<31 - 1
	case first.Seq != store.Seq(1, 1):
		end := first.End
		if end.Before(first.Start) {
			end = first.Start
		}
		whole = store.DayOf(end) + 1
		r.Notes = append(r.Notes, "entries before "+first.Start.UTC().Format("2006-01-02")+" are no longer kept: sums that hold them are checked to be no smaller than what is left")
	}
	rollups, spends := compare(l, counted, whole, first != nil && whole == -1<<31)
	late := newCount()
	for e, err := range l.Between(last+1, l.LastSeq()) { // booked while we counted
		if err == nil {
			late.add(e)
		}
	}
	r.Checks = append(r.Checks, rollups.check(late), spends.check(late), cursors(l))
	return r, nil
}

// suspect is a sum that is not what was counted. What was booked meanwhile may
// explain it.
type suspect struct {
	key        store.RollupKey
	scope      model.Scope
	have, want store.Sums
}

type suspects struct {
	name   string
	looked int64
	list   []suspect
	more   int64 // that did not fit
}

// maxSuspects bounds what is kept of a ledger whose sums are all wrong.
const maxSuspects = 100_000

func (s *suspects) add(x suspect) {
	if len(s.list) >= maxSuspects {
		s.more++
		return
	}
	s.list = append(s.list, x)
}

// compare holds the ledger's sums against the counted ones. From day whole on,
// and everywhere when the ledger is complete, they must be equal.
func compare(l *store.Ledger, counted *count, whole int32, complete bool) (rollups, spends suspects) {
	rollups.name, spends.name = "daily sums are those of the entries", "spend since ever is that of the entries"
	kept := map[store.RollupKey]bool{}
	for _, dim := range families {
		for k, have := range l.Rollups(dim, -1<<31, 1<<31-1) {
			rollups.looked++
			want := counted.rollups[k]
			kept[k] = true
			if have != want && (k.Day >= whole || !atLeast(have, want)) {
				rollups.add(suspect{key: k, have: have, want: want})
			}
		}
	}
	for k, want := range counted.rollups {
		if !kept[k] {
			rollups.looked++
			rollups.add(suspect{key: k, want: want})
		}
	}
	for _, dim := range levels {
		spent := l.Spends(dim)
		for id, have := range spent {
			spends.looked++
			sc := model.Scope{Dim: dim, ID: id}
			want := counted.spends[sc]
			if have != want && (complete || have < want) {
				spends.add(suspect{scope: sc, have: store.Sums{Spend: have}, want: store.Sums{Spend: want}})
			}
		}
	}
	for sc, want := range counted.spends {
		if want != 0 && l.SpendOf(sc) == 0 {
			spends.looked++
			spends.add(suspect{scope: sc, want: store.Sums{Spend: want}})
		}
	}
	return rollups, spends
}

func atLeast(have, want store.Sums) bool {
	return have.Requests >= want.Requests && have.Successful >= want.Successful && have.Failed >= want.Failed && have.Prompt >= want.Prompt &&
		have.Completion >= want.Completion && have.CacheRead >= want.CacheRead && have.CacheWrite >= want.CacheWrite &&
		have.Spend >= want.Spend && have.DurationMs >= want.DurationMs && have.CacheHits >= want.CacheHits
}

// check drops the suspects that calls booked meanwhile explain.
func (s *suspects) check(late *count) Check {
	c := Check{Name: s.name, Looked: s.looked, Differences: s.more}
	for _, x := range s.list {
		if x.scope.Dim != 0 {
			if most := x.want.Spend.Add(late.spends[x.scope]); x.have.Spend >= x.want.Spend && x.have.Spend <= most {
				continue
			}
			c.differs("%s %s: %s instead of %s USD", x.scope.Dim, x.scope.ID, x.have.Spend, x.want.Spend)
			continue
		}
		most := x.want
		most.Add(late.rollups[x.key])
		if atLeast(x.have, x.want) && atLeast(most, x.have) {
			continue
		}
		c.differs("%s key %q user %q model %q%s: %d calls of %s USD instead of %d of %s", x.key.Date(), x.key.Key, x.key.User, x.key.Model, entityText(&x.key),
			x.have.Requests, x.have.Spend, x.want.Requests, x.want.Spend)
	}
	return c
}

func entityText(k *store.RollupKey) string {
	switch k.Dim {
	case store.ByEndUser:
		return fmt.Sprintf(" end user %q", k.Entity)
	case store.ByTag:
		return fmt.Sprintf(" tag %q", k.Entity)
	}
	return ""
}

// cursors checks that no reader is ahead of the ledger.
func cursors(l *store.Ledger) Check {
	c := Check{Name: "no reader is ahead of the ledger"}
	all, err := l.Cursors()
	if err != nil {
		c.differs("%v", err)
		return c
	}
	last := l.LastSeq()
	for name, seq := range all {
		c.Looked++
		if seq > last {
			c.differs("%s has read entry %d, the last one is %d", name, seq, last)
		}
	}
	return c
}
