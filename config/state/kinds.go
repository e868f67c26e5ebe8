package state

import (
	"encoding/json"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
)

// Secondary indexes of a snapshot.
const (
	keysByAlias = iota
	keysByUser
	keysByTeam
	keysByReplaced // the rotated key's hash leads to the key that replaced it
	membersByTeam
	membersByUser
	usersByEmail
	orgMembersByOrg
	orgMembersByUser
	teamsByOrg
	byDataRegions // a set of regions leads to who has it
	indexCount
)

// kind is what the machinery knows of one table: how its entities are decoded,
// stored, numbered in snapshots and indexed. A further table is a further row
// in kinds.
type kind interface {
	table() model.Table
	record() byte
	decode(data []byte) (model.Entity, error)
	get(s *Snapshot, id string) (model.Entity, bool)
	version(s *Snapshot, id string) (uint64, bool)
	put(b *Builder, e model.Entity) bool
	delete(b *Builder, id string) bool
	finish(b *Builder)
	collect(s *Snapshot, add func(index int, owner, id string))
	records(s *Snapshot, yield func(byte, []byte) bool, fail func(error)) bool
	stamp(e model.Entity, s *Snapshot, index uint64)
}

const kindCount = 12

// kinds lists the tables. The record bytes stand in snapshot files: they are
// never reused.
var kinds = [kindCount]kind{
	&kindOf[*model.Key]{0, model.Keys, 2, func(s *Snapshot) **Table[*model.Key] { return &s.Keys },
		func() *model.Key { return new(model.Key) },
		func(k *model.Key) uint64 { return k.CreatedIndex },
		func(k *model.Key, add func(int, string, string)) {
			add(keysByAlias, k.Alias, k.Hash)
			add(keysByUser, k.UserID, k.Hash)
			add(keysByTeam, k.TeamID, k.Hash)
			add(keysByReplaced, k.Replaces, k.Hash)
			add(byDataRegions, ruleOf(k.DataRegions), k.Hash)
		}},
	&kindOf[*model.User]{1, model.Users, 3, func(s *Snapshot) **Table[*model.User] { return &s.Users },
		func() *model.User { return new(model.User) },
		func(u *model.User) uint64 { return u.CreatedIndex },
		func(u *model.User, add func(int, string, string)) { add(usersByEmail, strings.ToLower(u.Email), u.ID) }},
	&kindOf[*model.Team]{2, model.Teams, 4, func(s *Snapshot) **Table[*model.Team] { return &s.Teams },
		func() *model.Team { return new(model.Team) },
		func(t *model.Team) uint64 { return t.CreatedIndex },
		func(t *model.Team, add func(int, string, string)) {
			add(teamsByOrg, t.OrganizationID, t.ID)
			if len(t.DataRegions) > 0 { // of another table: the ids must not meet
				add(byDataRegions, ruleOf(t.DataRegions), "team/"+t.ID)
			}
		}},
	&kindOf[*model.Member]{3, model.Members, 5, func(s *Snapshot) **Table[*model.Member] { return &s.Members },
		func() *model.Member { return new(model.Member) },
		func(m *model.Member) uint64 { return m.CreatedIndex },
		func(m *model.Member, add func(int, string, string)) {
			add(membersByTeam, m.TeamID, m.EntityID())
			add(membersByUser, m.UserID, m.EntityID())
		}},
	&kindOf[*model.Budget]{4, model.Budgets, 6, func(s *Snapshot) **Table[*model.Budget] { return &s.Budgets },
		func() *model.Budget { return new(model.Budget) },
		func(b *model.Budget) uint64 { return b.CreatedIndex }, nil},
	&kindOf[*model.EndUser]{5, model.EndUsers, 7, func(s *Snapshot) **Table[*model.EndUser] { return &s.EndUsers },
		func() *model.EndUser { return new(model.EndUser) },
		func(e *model.EndUser) uint64 { return e.CreatedIndex }, nil},
	&kindOf[*model.DBModel]{6, model.Models, 8, func(s *Snapshot) **Table[*model.DBModel] { return &s.Models },
		func() *model.DBModel { return new(model.DBModel) },
		func(d *model.DBModel) uint64 { return d.CreatedIndex }, nil},
	&kindOf[*model.ConfigVersion]{7, model.Configs, 9, func(s *Snapshot) **Table[*model.ConfigVersion] { return &s.Configs },
		func() *model.ConfigVersion { return new(model.ConfigVersion) },
		func(c *model.ConfigVersion) uint64 { return c.CreatedIndex }, nil},
	// 10 is pastRecord.
	&kindOf[*model.Organization]{8, model.Organizations, 11, func(s *Snapshot) **Table[*model.Organization] { return &s.Organizations },
		func() *model.Organization { return new(model.Organization) },
		func(o *model.Organization) uint64 { return o.CreatedIndex },
		func(o *model.Organization, add func(int, string, string)) {
			if len(o.DataRegions) > 0 {
				add(byDataRegions, ruleOf(o.DataRegions), "organization/"+o.ID)
			}
		}},
	&kindOf[*model.OrgMember]{9, model.OrgMembers, 12, func(s *Snapshot) **Table[*model.OrgMember] { return &s.OrgMembers },
		func() *model.OrgMember { return new(model.OrgMember) },
		func(m *model.OrgMember) uint64 { return m.CreatedIndex },
		func(m *model.OrgMember, add func(int, string, string)) {
			add(orgMembersByOrg, m.OrganizationID, m.EntityID())
			add(orgMembersByUser, m.UserID, m.EntityID())
		}},
	&kindOf[*model.Tag]{10, model.Tags, 13, func(s *Snapshot) **Table[*model.Tag] { return &s.Tags },
		func() *model.Tag { return new(model.Tag) },
		func(t *model.Tag) uint64 { return t.CreatedIndex }, nil},
	&kindOf[*model.Alert]{11, model.Alerts, 14, func(s *Snapshot) **Table[*model.Alert] { return &s.Alerts },
		func() *model.Alert { return new(model.Alert) },
		func(a *model.Alert) uint64 { return a.CreatedIndex }, nil},
}

func kindOfTable(t model.Table) (kind, bool) {
	for _, k := range kinds {
		if k.table() == t {
			return k, true
		}
	}
	return nil, false
}

// Entity finds one object of any table.
func (s *Snapshot) Entity(t model.Table, id string) (model.Entity, bool) {
	k, ok := kindOfTable(t)
	if !ok {
		return nil, false
	}
	return k.get(s, id)
}

func kindOfRecord(r byte) (kind, bool) {
	for _, k := range kinds {
		if k.record() == r {
			return k, true
		}
	}
	return nil, false
}

type kindOf[T model.Entity] struct {
	slot    int // in Builder.edits
	name    model.Table
	rec     byte
	field   func(*Snapshot) **Table[T]
	fresh   func() T
	created func(T) uint64
	index   func(e T, add func(index int, owner, id string)) // at most once per index; nil: none
}

func (k *kindOf[T]) table() model.Table { return k.name }
func (k *kindOf[T]) record() byte       { return k.rec }

// lenient reads what encoding/json reads: raw values inside entities are
// clients' own JSON and may hold duplicate names; refusing them here, after
// they were accepted, would split what nodes hold.
var lenient = jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func (k *kindOf[T]) decode(data []byte) (model.Entity, error) {
	e := k.fresh()
	if err := jsonv2.Unmarshal(data, e, lenient); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k.name, err)
	}
	return e, nil
}

func (k *kindOf[T]) get(s *Snapshot, id string) (model.Entity, bool) {
	e, ok := (*k.field(s)).Get(id)
	return e, ok
}

func (k *kindOf[T]) version(s *Snapshot, id string) (uint64, bool) {
	e, ok := (*k.field(s)).Get(id)
	if !ok {
		return 0, false
	}
	return e.EntityVersion(), true
}

// stamp gives e its version, and the creation of what it replaces in s.
func (k *kindOf[T]) stamp(e model.Entity, s *Snapshot, index uint64) {
	created := index
	if old, ok := (*k.field(s)).Get(e.EntityID()); ok {
		created = k.created(old)
	}
	e.SetVersion(created, index)
}

func (k *kindOf[T]) put(b *Builder, e model.Entity) bool {
	v, ok := e.(T)
	if !ok {
		return false
	}
	ed := k.edit(b)
	if !b.bulk && k.index != nil {
		// Most changes touch nothing that is indexed: only what differs is copied.
		var was, is [indexCount]pair
		if old, had := ed.t.Get(e.EntityID()); had {
			k.index(old, func(index int, owner, id string) { was[index] = pair{owner, id} })
		}
		k.index(v, func(index int, owner, id string) { is[index] = pair{owner, id} })
		for i := range is {
			if was[i] != is[i] {
				b.unindex(i, was[i].owner, was[i].id)
				b.reindex(i, is[i].owner, is[i].id)
			}
		}
	}
	ed.put(e.EntityID(), v)
	return true
}

func (k *kindOf[T]) delete(b *Builder, id string) bool {
	ed := k.edit(b)
	old, had := ed.t.Get(id)
	if !had {
		return false
	}
	if !b.bulk && k.index != nil {
		k.index(old, b.unindex)
	}
	ed.delete(id)
	return true
}

func (k *kindOf[T]) edit(b *Builder) *edit[T] {
	if e, ok := b.edits[k.slot].(*edit[T]); ok {
		return e
	}
	e := newEdit(*k.field(&b.next))
	b.edits[k.slot] = e
	return e
}

func (k *kindOf[T]) finish(b *Builder) {
	if e, ok := b.edits[k.slot].(*edit[T]); ok {
		*k.field(&b.next) = e.table()
		b.edits[k.slot] = nil
	}
}

func (k *kindOf[T]) collect(s *Snapshot, add func(index int, owner, id string)) {
	if k.index == nil {
		return
	}
	for _, e := range (*k.field(s)).All() {
		k.index(e, add)
	}
}

func (k *kindOf[T]) records(s *Snapshot, yield func(byte, []byte) bool, fail func(error)) bool {
	for id, e := range (*k.field(s)).Sorted() {
		data, err := json.Marshal(e) // sorts maps: the same state gives the same bytes
		if err != nil {
			fail(fmt.Errorf("encode %s %q: %w", k.name, id, err))
			return false
		}
		if !yield(k.rec, data) {
			return false
		}
	}
	return true
}
