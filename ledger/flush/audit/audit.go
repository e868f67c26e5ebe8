// Package audit shows who changed what in the cluster's state, in the form of
// LiteLLM's audit log: it turns the records that every node keeps into rows,
// without secrets, answers questions about them, and writes them to PostgreSQL,
// each once, whichever node does. It hears of no change itself, makes none, and
// shows nothing that the records do not hold.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/unit"
	"tollgate/ledger/flush/project"
	"tollgate/ledger/store"
)

// What was done.
const (
	Created   = "created"
	Updated   = "updated"
	Deleted   = "deleted"
	Blocked   = "blocked"
	Unblocked = "unblocked"
	Rotated   = "rotated"
)

// Row is one change, as LiteLLM_AuditLog has it.
type Row struct {
	ID        string          `json:"id"`
	At        Moment          `json:"updated_at"`
	By        string          `json:"changed_by"`
	ByKey     string          `json:"changed_by_api_key"`
	Action    string          `json:"action"`
	Table     string          `json:"table_name"`
	Object    string          `json:"object_id"`
	Before    json.RawMessage `json:"before_value"`   // null: there was none
	UpdatedTo json.RawMessage `json:"updated_values"` // null: deleted
}

// Moment is a time to the millisecond, as the column has it.
type Moment time.Time

// MarshalJSON writes it in UTC.
func (m Moment) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(m).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Moment) UnmarshalJSON(b []byte) error { return (*time.Time)(m).UnmarshalJSON(b) }

// Config is what records are shown with.
type Config struct {
	Ledger  *store.Ledger
	Cluster string // the cluster's id: ids of rows follow from it
	// Location is where the calendar of budgets lives; nil: UTC.
	Location func() *time.Location
	Clock    unit.Clock
	Logger   *slog.Logger
}

func (c *Config) validate() error {
	if c.Ledger == nil || c.Cluster == "" || c.Clock == nil || c.Logger == nil {
		return errors.New("audit log needs a ledger, a cluster's name, a clock and a logger")
	}
	if c.Location == nil {
		c.Location = func() *time.Location { return time.UTC }
	}
	return nil
}

// id is the same on every node.
func (c *Config) id(r *store.Audit) string {
	space := uuid.NewSHA1(uuid.NameSpaceOID, []byte("tollgate audit "+c.Cluster))
	return uuid.NewSHA1(space, []byte(strconv.FormatUint(r.Index, 10)+"/"+strconv.FormatUint(uint64(r.Part), 10))).String()
}

// change is a record, or the two that a key's rotation is.
type change struct {
	*store.Audit
	before json.RawMessage
	action string
	object string
}

// changes are what the records of one log entry come to. Nothing is left of a
// record of what was not there before and is not afterwards.
func changes(records []store.Audit) []change {
	out := make([]change, 0, len(records))
	for i := 0; i < len(records); i++ {
		r := &records[i]
		c := change{r, r.Before, Updated, objectID(r.Table, r.ID)}
		switch {
		case r.Before == nil && r.After == nil:
			continue
		case r.Before == nil:
			c.action = Created
		case r.After == nil:
			c.action = Deleted
			if i+1 < len(records) && rotation(r, &records[i+1]) {
				i++
				c.Audit, c.action = &records[i], Rotated
			}
		default:
			c.action = updated(r)
		}
		out = append(out, c)
	}
	return out
}

// rotation reports whether a key is deleted because the next record makes its
// successor, which counts how often that has happened.
func rotation(old, fresh *store.Audit) bool {
	if old.Table != string(model.Keys) || fresh.Table != old.Table || fresh.Before != nil || fresh.After == nil {
		return false
	}
	type rotated struct {
		Extra struct {
			Count json.RawMessage `json:"rotation_count"`
		} `json:"extra"`
	}
	var a, b rotated
	return json.Unmarshal(old.Before, &a) == nil && json.Unmarshal(fresh.After, &b) == nil &&
		len(b.Extra.Count) > 0 && !bytes.Equal(a.Extra.Count, b.Extra.Count)
}

var blockedMark = []byte(`"blocked":true`)

// updated tells a block from other changes: nothing else has changed with it.
func updated(r *store.Audit) string {
	was, is := bytes.Contains(r.Before, blockedMark), bytes.Contains(r.After, blockedMark)
	if was == is {
		return Updated
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(r.Before, &a) != nil || json.Unmarshal(r.After, &b) != nil || string(a["blocked"]) == string(b["blocked"]) {
		return Updated
	}
	for _, name := range []string{"blocked", "updated_at", "updated_by", "version"} {
		delete(a, name)
		delete(b, name)
	}
	if len(a) != len(b) {
		return Updated
	}
	for name, v := range a {
		if !bytes.Equal(v, b[name]) {
			return Updated
		}
	}
	if is {
		return Blocked
	}
	return Unblocked
}

// objectID is an id as rows show it: the parts of a membership's with a colon,
// a config version without its zeros.
func objectID(table, id string) string {
	if table == string(model.Configs) {
		if n, err := strconv.ParseUint(id, 10, 64); err == nil {
			return strconv.FormatUint(n, 10)
		}
	}
	return project.StorableText(strings.ReplaceAll(id, "\x1f", ":"))
}

// kind is what records of one table of the state are about.
type kind struct {
	table string // LiteLLM's
	fresh func() model.Entity
}

var kinds = map[string]kind{
	string(model.Keys):          {"LiteLLM_VerificationToken", func() model.Entity { return new(model.Key) }},
	string(model.Users):         {"LiteLLM_UserTable", func() model.Entity { return new(model.User) }},
	string(model.Teams):         {"LiteLLM_TeamTable", func() model.Entity { return new(model.Team) }},
	string(model.Members):       {"LiteLLM_TeamMembership", func() model.Entity { return new(model.Member) }},
	string(model.Budgets):       {"LiteLLM_BudgetTable", func() model.Entity { return new(model.Budget) }},
	string(model.EndUsers):      {"LiteLLM_EndUserTable", func() model.Entity { return new(model.EndUser) }},
	string(model.Models):        {"LiteLLM_ProxyModelTable", func() model.Entity { return new(model.DBModel) }},
	string(model.Configs):       {"LiteLLM_Config", func() model.Entity { return new(model.ConfigVersion) }},
	string(model.Organizations): {"LiteLLM_OrganizationTable", func() model.Entity { return new(model.Organization) }},
	string(model.OrgMembers):    {"LiteLLM_OrganizationMembership", func() model.Entity { return new(model.OrgMember) }},
	string(model.Tags):          {"LiteLLM_TagTable", func() model.Entity { return new(model.Tag) }},
}

// tableName is LiteLLM's name of a table of the state; one that LiteLLM does not
// have keeps its own.
func tableName(t string) string {
	if k, ok := kinds[t]; ok {
		return k.table
	}
	return t
}

// row is a change with its values.
func (c *Config) row(ch *change) Row {
	r := c.head(ch)
	before, after := c.value(ch.Table, ch.before, ch.At), c.value(ch.Table, ch.After, ch.At)
	r.Before, r.UpdatedTo = c.encode(ch, masked(before, nil)), c.encode(ch, masked(after, before))
	return r
}

// head is a change without its values.
func (c *Config) head(ch *change) Row {
	return Row{ID: c.id(ch.Audit), At: Moment(ch.At.UTC().Truncate(time.Millisecond)), By: project.StorableText(secret.Mask(ch.By)),
		ByKey: project.StorableText(ch.ByKey), Action: ch.action, Table: tableName(ch.Table), Object: ch.object}
}

// value is an object as its table shows it; nil when there is none.
func (c *Config) value(table string, raw json.RawMessage, at time.Time) any {
	if raw == nil {
		return nil
	}
	if k, ok := kinds[table]; ok {
		e := k.fresh()
		if err := json.Unmarshal(raw, e); err == nil {
			_, row := project.Show(e, at, c.Location())
			return any(row)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return map[string]any{}
	}
	return v
}

func (c *Config) encode(ch *change, v any) json.RawMessage {
	if v == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		c.Logger.Error("audit record not shown in full", "index", ch.Index, "table", ch.Table, "error", fmt.Errorf("encode: %w", err))
		return json.RawMessage("{}")
	}
	return project.StorableJSON(data)
}
