package clusterapi

import (
	"time"

	"tollgate/proxy/refusal"
)

// States of an import.
const (
	ImportNone    = "none" // since this node's start
	ImportRunning = "running"
	ImportDone    = "done"
	ImportFailed  = "failed"
)

// Import is how far the taking over of LiteLLM's database has come on one node.
type Import struct {
	State   string     `json:"state"`
	Node    string     `json:"node"`           // that reads the database
	From    string     `json:"from,omitempty"` // host and database, without credentials
	By      string     `json:"by,omitempty"`
	Started *time.Time `json:"started,omitzero"`
	Ended   *time.Time `json:"ended,omitzero"`
	Done    int        `json:"done"`            // objects that were proposed
	Total   int        `json:"total"`           // objects that were found and are new
	What    string     `json:"what,omitempty"`  // the kind it is at
	Report  *Imported  `json:"report,omitzero"` // once it has ended, also of one that failed
	Error   string     `json:"error,omitempty"`
}

// Imported counts by kind what a database gave.
type Imported struct {
	Taken   map[string]int `json:"taken,omitempty"`
	Existed map[string]int `json:"existed,omitempty"` // were there already, and were left as they are
	Left    map[string]int `json:"left,omitempty"`    // could not be taken over
	Reasons []string       `json:"reasons,omitempty"` // of those, and of what was taken in part
}

// startImport begins to take LiteLLM's database over. The address holds a
// password: it is told to nobody, not in the log and not in an answer.
func (c *call) startImport() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	from, given := f.text("from")
	switch _, there := f.raw["from"]; {
	case !there:
		f.fault("from", "missing", "Field required")
	case given && from == "":
		f.invalid("from", "from must not be empty: it is the DATABASE_URL of LiteLLM")
	}
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	i, err := c.h.Cluster.StartImport(ctx, from, c.who())
	if err != nil {
		return c.failed(err)
	}
	return c.done(202, i, "from", i.From)
}

func (c *call) showImport() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	i, err := c.h.Cluster.Import(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(i)
}
