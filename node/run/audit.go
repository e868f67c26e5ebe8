package run

import (
	"encoding/json"
	"iter"
	"log/slog"
	"sync"

	"tollgate/cluster/fsm"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/store"
)

// auditTrail keeps, on every node, who changed what in the replicated state. It
// hears of changes while the log is applied, which begins before the ledger is
// open: what comes until then waits in memory.
type auditTrail struct {
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	ledger  *store.Ledger
	waiting []store.Audit
	own     uint64 // where the snapshot stands that this node began with; 0: it began with the log
	from    uint64 // records before are missing; 0: none that this start knows of
	started bool   // the node's own state has been read
	off     bool   // the node has no ledger
}

// heard is called with every applied mutation, on the applying goroutine.
func (t *auditTrail) heard(m state.Applied) {
	if v := m.New.ActiveConfig(); v != nil && v.Config.LiteLLM.NoAuditLogs {
		return
	}
	records := auditRecords(m)
	if len(records) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.off:
		return
	case t.ledger == nil:
		t.waiting = append(t.waiting, records...)
		return
	}
	if err := t.ledger.PutAudits(records); err != nil {
		t.log.Error("audit records not kept", "index", m.Index, "error", err)
	}
}

func auditRecords(m state.Applied) []store.Audit {
	var records []store.Audit
	for i, c := range m.Changes {
		if c.Table == model.Alerts { // the gateway's own notes
			continue
		}
		r := store.Audit{Index: m.Index, Part: uint32(i), At: m.At, By: m.By, ByKey: m.ByKey, Table: string(c.Table), ID: c.ID}
		before, had := m.Old.Entity(c.Table, c.ID)
		after, has := m.New.Entity(c.Table, c.ID)
		if had {
			r.Before = auditValue(c.Table, before)
		}
		if has {
			r.After = auditValue(c.Table, after)
		}
		records = append(records, r)
	}
	return records
}

// auditValue is an object as it stands in the state, secrets sealed. A config
// version is kept in full in its history: here its number and hash are enough.
func auditValue(t model.Table, e model.Entity) json.RawMessage {
	var of any = e
	if v, ok := e.(*model.ConfigVersion); ok {
		of = struct {
			Number uint64 `json:"number"`
			Hash   string `json:"hash"`
		}{v.Number, v.Hash}
	}
	data, err := json.Marshal(of)
	if err != nil { // raw JSON of clients was checked when it came in
		return json.RawMessage(`{"table":"` + string(t) + `"}`)
	}
	return data
}

// replaced is called when the whole state was taken over from elsewhere: what
// led to it is not known here.
func (t *auditTrail) replaced(index uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started { // what led to the node's own snapshot was heard by an earlier start
		t.own = index
		return
	}
	t.waiting, t.from = nil, index+1
	if t.ledger != nil {
		t.noteGap()
	}
}

// begun says that the node has read its own state: a state that comes now was
// another's.
func (t *auditTrail) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started = true
}

// without says that no ledger will come: a witness has none.
func (t *auditTrail) without() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.off, t.waiting = true, nil
}

// open writes what has waited.
func (t *auditTrail) open(l *store.Ledger) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known, err := l.AuditsFrom()
	if err != nil {
		return err
	}
	t.ledger = l
	switch {
	case t.from != 0:
		t.noteGap()
	case !known: // a ledger that is new here
		t.from = t.own + 1
		t.noteGap()
	}
	err = l.PutAudits(t.waiting)
	t.waiting = nil
	return err
}

// audited tells the trail when the state is replaced as a whole.
type audited struct {
	*state.Applier
	trail *auditTrail
}

var _ fsm.Applier = audited{}

// Restore is the applier's; the trail hears of it once it has happened.
func (a audited) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	swap, err := a.Applier.Restore(records)
	if err != nil {
		return nil, err
	}
	return func() {
		swap()
		a.trail.replaced(a.Applied().Index)
	}, nil
}

func (t *auditTrail) noteGap() {
	if err := t.ledger.SetAuditsFrom(t.from); err != nil {
		t.log.Error("start of the audit records not noted", "index", t.from, "error", err)
	}
}
