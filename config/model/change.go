package model

import (
	"encoding/json"
	"fmt"
	"time"
)

// Table names one kind of entity in the replicated state.
type Table string

// The tables of the state.
const (
	Keys     Table = "key"
	Users    Table = "user"
	Teams    Table = "team"
	Members  Table = "member"
	Budgets  Table = "budget"
	EndUsers Table = "end_user"
	Models   Table = "model"
	Configs  Table = "config"

	Organizations Table = "organization"
	OrgMembers    Table = "organization_member"
	Tags          Table = "tag"
	Alerts        Table = "alert"
)

// Change puts or deletes one entity. With Expect set the change applies only
// to that version of the entity: 0 means that it must not exist.
type Change struct {
	Table  Table           `json:"table"`
	ID     string          `json:"id"`
	Expect *uint64         `json:"expect,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"` // nil deletes
}

// Mutation is the one payload that changes replicated entities: all its changes
// apply or none. ID is chosen by the proposer; a repeated id answers as the
// first time did. At is stamped by the leader.
type Mutation struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	ByKey   string    `json:"by_key,omitempty"` // hash of the key that was used
	Changes []Change  `json:"changes"`
	// Sealed is what a repeated mutation needs to answer as the first did and
	// stands nowhere else: a key that was made, sealed by the proposer.
	Sealed string `json:"sealed,omitempty"`
}

// Result is what applying a mutation gave.
type Result struct {
	Index    uint64   `json:"index"`
	Conflict *Refused `json:"conflict,omitempty"`
	Sealed   string   `json:"sealed,omitempty"` // of the mutation that was applied
}

// Refused names the change that did not meet its expectation.
type Refused struct {
	Table Table  `json:"table"`
	ID    string `json:"id"`
	Have  uint64 `json:"have"` // version found, 0 when there is none
}

// Error says which object stood otherwise than expected.
func (r *Refused) Error() string {
	if r.Have == 0 {
		return fmt.Sprintf("%s %q does not exist", r.Table, r.ID)
	}
	return fmt.Sprintf("%s %q was changed meanwhile (version %d)", r.Table, r.ID, r.Have)
}

// Put makes the change that stores e. expect nil overwrites whatever is there.
func Put(t Table, e Entity, expect *uint64) Change {
	v, err := json.Marshal(e)
	if err != nil { // plain data: only a broken RawMessage can do this
		panic(fmt.Sprintf("marshal %s: %v", t, err))
	}
	return Change{Table: t, ID: e.EntityID(), Expect: expect, Value: v}
}

// Delete makes the change that removes an entity.
func Delete(t Table, id string, expect *uint64) Change {
	return Change{Table: t, ID: id, Expect: expect}
}

// Version is a pointer to v, for Expect.
func Version(v uint64) *uint64 { return &v }

// ConfigID is the id of a config version.
func ConfigID(n uint64) string { return fmt.Sprintf("%020d", n) }
