package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/flush/project"
	"tollgate/ledger/query"
	"tollgate/ledger/reader"
	"tollgate/ledger/sink"
)

// cursorDatabase is the name of the reader that writes to PostgreSQL.
const cursorDatabase = "postgres"

// openReaders starts what follows the ledger: PostgreSQL, where there is one,
// and the callbacks. No call waits for any of them.
func (n *node) openReaders(background context.Context, group *errgroup.Group) error {
	n.readers = reader.NewSet(n.ledger, reader.SetConfig{Clock: n.clock, Logger: n.log})
	n.metrics.MustRegister(n.readers.Collector())
	if err := n.openDatabase(background, group); err != nil {
		return err
	}
	if err := n.openCopies(background, group); err != nil {
		return err
	}
	n.openAnswers(background, group)
	if n.db == nil {
		alone := func() error { return audit.RetainAlone(n.auditConfig()) }
		group.Go(func() error { return n.retainAudits(background, alone) })
	}
	group.Go(func() error { return n.readers.Run(background) })
	n.updateReaders(nil)
	group.Go(func() error { return n.followCallbacks(background) })
	return nil
}

// openDatabase connects nothing yet: PostgreSQL may come later.
func (n *node) openDatabase(background context.Context, group *errgroup.Group) error {
	addr, err := n.database()
	if addr == "" || err != nil {
		return err
	}
	n.db, err = flush.Open(flush.Config{Address: addr, Settings: n.flushSettings, Clock: n.clock, Logger: n.log})
	if err != nil {
		return err
	}
	n.log.Info("books are kept in PostgreSQL", "database", n.db.Name(), "region", n.o.DatabaseRegion)
	cursors, err := n.ledger.Cursors()
	if err != nil {
		return err
	}
	n.flushedAtStart = cursors[cursorDatabase]
	n.metrics.MustRegister(n.db.Collector())
	group.Go(func() error { return n.db.Run(background) })
	audits, err := n.openAudits(background, group)
	if err != nil {
		return err
	}
	group.Go(func() error { return n.retainAudits(background, audits.Retain) })
	if err := n.openChecksDatabase(background, group); err != nil {
		return err
	}
	if n.projector, err = n.newProjector(audits); err != nil {
		return err
	}
	group.Go(func() error { return n.projector.Run(background) })
	return nil
}

// flushSettings are what the replicated config says of rows.
func (n *node) flushSettings() flush.Settings {
	v := n.store.State().ActiveConfig()
	if v == nil {
		return flush.Settings{}
	}
	g, t := &v.Config.General, &v.Config.Tollgate
	return flush.Settings{
		UserColumn: query.UserColumn(t.UserColumn), NoSpendLogs: g.DisableSpendLogs, NoErrorLogs: g.DisableErrorLogs,
		KeepLogs: span(g.SpendLogsRetention), KeepBodies: span(t.KeepBodies), RetainEvery: span(g.SpendLogsInterval),
	}
}

// span is how long a duration of the settings lasts, 0 when there is none. They
// were checked when they were read.
func span(text string) time.Duration {
	w, err := unit.ParseWindow(text)
	if err != nil || w.Endless() {
		return 0
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a month of 31 days
	return w.Add(from).Sub(from)
}

func (n *node) newProjector(audits *audit.Writer) (*project.Projector, error) {
	return project.New(project.Config{
		Pool: n.db.Projection(), Ready: n.db.Ready, State: n.store, Cluster: n.cluster.Status().ClusterID,
		Leads: n.cluster.IsLeader, Clock: n.clock, Logger: n.log, SigningKey: n.signingKey(), MasterKey: n.master,
		Open: n.box.OpenDeployment, Seal: n.sealDeployment, Beside: n.checks.writer.After(audits.Beside),
		Propose: n.proposeTaken,
	})
}

// awaitTakeover lets a cluster that has just begun read a database of LiteLLM's
// before it takes calls: the keys in there are its users'. A database that is
// away, hangs or is in another's hands is not waited for.
func (n *node) awaitTakeover(ctx context.Context) {
	if n.projector == nil || !n.cluster.IsLeader() || n.store.State().Keys.Len() > 0 {
		return
	}
	n.starting.say("reading the database's keys, users and teams")
	t := time.NewTicker(takeoverLook)
	defer t.Stop()
	idle := time.NewTimer(takeoverPatience)
	defer idle.Stop()
	for {
		s := n.projector.Stats()
		if s.Healthy || s.LastError != "" || !n.cluster.IsLeader() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			if !s.Working {
				n.log.Warn("keys of the database are not read before the first calls: it does not answer, or another node reads it")
				return
			}
		case <-t.C:
		}
	}
}

// takeoverLook is how often the projector is looked at, takeoverPatience how
// long it may take to begin.
const (
	takeoverLook     = 20 * time.Millisecond
	takeoverPatience = 20 * time.Second
)

// callbacksEvery is how soon a changed list of callbacks is followed.
const callbacksEvery = time.Second

// followCallbacks keeps the readers to what the newest config names.
func (n *node) followCallbacks(ctx context.Context) error {
	t := time.NewTicker(callbacksEvery)
	defer t.Stop()
	var seen *model.ConfigVersion
	for {
		if v := n.store.State().ActiveConfig(); v != seen {
			seen = v
			n.updateReaders(v)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// updateReaders makes the readers those of a config. A callback that cannot be
// made is told and left out: the others work.
func (n *node) updateReaders(v *model.ConfigVersion) {
	var want []reader.Named
	if n.db != nil {
		sum := sha256.Sum256([]byte(n.db.Name()))
		want = append(want, reader.Named{
			Name: cursorDatabase, Sink: n.db.Sink(n.copies.book), Settings: hex.EncodeToString(sum[:]),
			Config: reader.Config{MaxEntries: 5000, MaxBytes: 8 << 20, Linger: time.Second, Bodies: reader.RowBodies, Whole: n.wholeInDatabase},
		})
	}
	if v != nil {
		opened, faults := n.box.OpenConfig(&v.Config)
		callbacks, err := sink.Open(opened.Callbacks, sink.Deps{
			Node: n.identity.NodeID, Agent: "tollgate/" + n.o.Version, Dir: n.o.DataDir, FileRoots: n.o.CallbackDirs, Region: n.o.Region, Allow: n.mayBeIn, Clock: n.clock, Logger: n.log,
		})
		if err = errors.Join(append(faults, err)...); err != nil {
			n.log.Error("some callbacks do not run", "error", err)
		}
		want = append(want, callbacks...)
	}
	if err := n.readers.Update(want); err != nil {
		n.log.Error("some readers of the ledger do not run", "error", err)
	}
}

// flushWithin is how long a stopping node goes on delivering; what is left then
// is delivered by its next start.
const flushWithin = 5 * time.Second

func (n *node) flushReaders() {
	if n.readers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := n.readers.Flush(ctx); err != nil {
		n.log.Warn("not everything is delivered before the stop; the next start goes on", "error", err)
	}
}

// methodSettle asks a node to write what it has booked to PostgreSQL.
const methodSettle = "ledger.settle"

// tails are what no node has written to PostgreSQL yet: an answer from there
// waits for them.
func (n *node) tails() []query.Tail {
	tails := []query.Tail{{Name: n.o.Name, Settle: n.settleOwn}}
	for _, m := range n.otherLedgers() {
		t := query.Tail{Name: m.Name}
		if n.place.alive(m.ID) {
			t.Settle = func(ctx context.Context) error {
				_, err := n.port.Call(ctx, m.ID, methodSettle, nil)
				return err
			}
		}
		tails = append(tails, t)
	}
	return tails
}

func (n *node) settleOwn(ctx context.Context) error {
	r, err := n.readers.Reader(cursorDatabase)
	if err != nil {
		return fmt.Errorf("flush to PostgreSQL: %w", err)
	}
	return r.Flush(ctx)
}

// databaseFact is how PostgreSQL is, as LiteLLM's health answers word it.
func (n *node) databaseFact() string {
	if n.db == nil || !n.db.Health().Healthy {
		return "Not connected"
	}
	return "connected"
}
