package audit

import (
	"fmt"
	"time"

	"tollgate/ledger/store"
)

// How long a node keeps its own records: briefly once PostgreSQL has them, and
// longer where there is no PostgreSQL.
const (
	keepWritten = 7 * 24 * time.Hour
	keepAlone   = 90 * 24 * time.Hour
)

// Retain drops this node's records that are past their time. A node with
// PostgreSQL keeps those that are not written yet for as long as that takes.
func (w *Writer) Retain() error {
	written := w.Stats().Written
	return retain(&w.cfg.Config, keepWritten, func(r *store.Audit) bool { return r.Index <= written })
}

// RetainAlone drops the records that are past their time on a node without
// PostgreSQL.
func RetainAlone(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	return retain(&cfg, keepAlone, func(*store.Audit) bool { return true })
}

func retain(cfg *Config, keep time.Duration, may func(*store.Audit) bool) error {
	cutoff, upTo := cfg.Clock.Now().Add(-keep), uint64(0)
	for r, err := range cfg.Ledger.Audits(0) {
		if err != nil {
			return fmt.Errorf("retain audit records: %w", err)
		}
		if !r.At.Before(cutoff) || !may(&r) {
			break
		}
		upTo = r.Index
	}
	if upTo == 0 {
		return nil
	}
	from, _, err := cfg.Ledger.AuditsFrom()
	if err == nil && from <= upTo {
		err = cfg.Ledger.SetAuditsFrom(upTo + 1) // first: what it says must never be too early
	}
	if err == nil {
		err = cfg.Ledger.DropAudits(upTo)
	}
	if err != nil {
		return fmt.Errorf("retain audit records: %w", err)
	}
	return nil
}
