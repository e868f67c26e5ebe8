package flush

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Class is a kind of fault. All but Data pass by themselves or by an operator's
// hand, so what met one is tried again.
type Class string

// The classes, as metrics and health show them.
const (
	Away        Class = "away"        // refused, cut off, restarting
	Slow        Class = "slow"        // a bound on time was passed
	Full        Class = "full"        // disk or memory
	ReadOnly    Class = "read_only"   // a standby, or set so
	Connections Class = "connections" // the server has no room for one more
	Conflict    Class = "conflict"    // deadlock or serialization: repeated at once
	Rights      Class = "rights"      // authentication or missing grants
	Schema      Class = "schema"      // tables are missing or not as they should be
	Data        Class = "data"        // the server will never take this row
	Other       Class = "other"
)

var classes = []Class{Away, Slow, Full, ReadOnly, Connections, Conflict, Rights, Schema, Data, Other}

// ClassOf says what kind of fault an error is.
func ClassOf(err error) Class {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var connecting *pgconn.ConnectError
		switch {
		case errors.Is(err, errWentBack):
			return Other
		case strings.Contains(err.Error(), "read only connection"):
			return ReadOnly
		case errors.As(err, &connecting):
			return Away
		case errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
			return Slow
		}
		return Away // what is left are broken connections
	}
	switch pg.Code {
	case "57014", "55P03", "25P03", "57P05":
		return Slow
	case "25006":
		return ReadOnly
	case "53300":
		return Connections
	case "40001", "40P01":
		return Conflict
	case "23505":
		return Conflict // somebody took a request id between our look and our row
	case "42501":
		return Rights
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "57":
		return Away
	case "53", "58":
		return Full
	case "28":
		return Rights
	case "42", "3D", "3F":
		return Schema
	case "22", "23", "54", "P0":
		return Data
	}
	return Other
}

// Health is what is known of the database.
type Health struct {
	Healthy bool
	Since   time.Time // of the present state
	Class   Class     // of the last fault, "" when healthy
	Error   string
	// LastFlush is when a batch was written last, zero if none was.
	LastFlush time.Time
	// Ready is false until the schema is in order.
	Ready bool
}

type healthState struct {
	mu        sync.Mutex // guards what follows
	healthy   bool
	since     time.Time
	at        time.Time
	class     Class
	err       string
	lastFlush time.Time
}

func (h *healthState) seen() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// Health tells how the database is, from what was last met.
func (d *Database) Health() Health {
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return Health{Healthy: h.healthy, Since: h.since, Class: h.class, Error: h.err, LastFlush: h.lastFlush, Ready: d.daily.Load() != nil}
}

// saw notes an outcome, and returns it.
func (d *Database) saw(err error) error {
	if errors.Is(err, context.Canceled) {
		return err // who asked went away; the database did nothing
	}
	class := Class("")
	if err != nil {
		class = ClassOf(err)
		d.counts.fault(class)
		switch class {
		case ReadOnly, Away: // the next connection may find the one that takes writes
			d.flush.Reset()
			d.projection.Reset()
		case Schema: // restored from a backup, or dropped
			d.daily.Store(nil)
		}
	}
	h := &d.health
	h.mu.Lock()
	was, before := h.healthy, h.class
	h.at = d.cfg.Clock.Now()
	// A row that is refused is the row's fault, and a conflict is others' work.
	h.healthy = err == nil || class == Data || class == Conflict
	if h.healthy {
		h.class, h.err = "", ""
	} else {
		h.class, h.err = class, err.Error()
	}
	if h.healthy != was {
		h.since = h.at
	}
	since, now := h.since, h.healthy
	h.mu.Unlock()
	switch {
	case now && !was:
		d.cfg.Logger.Info("database is there", "database", d.Name())
	case !now && (was || before != class):
		select {
		case d.fault <- struct{}{}:
		default:
		}
		d.cfg.Logger.Warn("database takes no entries, the ledger keeps them", "database", d.Name(), "class", class, "since", since, "error", err)
	}
	return err
}

func jitter(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // spreads retries, keeps no secret
}

// rest waits, or until the context ends.
func rest(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
