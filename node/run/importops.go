package run

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/project"
	"tollgate/proxy/clusterapi"
)

// imports takes LiteLLM's databases over, one at a time. What it was asked
// outlives the request that asked: half an import helps nobody.
type imports struct {
	node  string
	clock unit.Clock
	log   *slog.Logger
	read  func(ctx context.Context, from string, progress func(done, total int, what string)) (project.Report, error)
	begun chan string // addresses; room for the one that is allowed

	mu sync.Mutex // guards now
	// now is the newest import: an answer is a copy of it.
	now clusterapi.Import
}

func newImports(node string, clock unit.Clock, log *slog.Logger,
	read func(context.Context, string, func(done, total int, what string)) (project.Report, error)) *imports {
	return &imports{
		node: node, clock: clock, log: log, read: read, begun: make(chan string, 1),
		now: clusterapi.Import{State: clusterapi.ImportNone, Node: node},
	}
}

// openImports lets operators take over databases that are not the cluster's own.
func (n *node) openImports(background context.Context, group *errgroup.Group) {
	n.imports = newImports(n.o.Name, n.clock, n.log, func(ctx context.Context, from string, progress func(int, int, string)) (project.Report, error) {
		return project.Import(ctx, project.ImportConfig{
			URL: from, State: n.store, Clock: n.clock, Logger: n.log, SigningKey: n.signingKey(), MasterKey: n.master,
			Seal: n.sealDeployment, Propose: n.proposeTaken,
		}, progress)
	})
	group.Go(func() error { return n.imports.run(background) })
}

// StartImport begins to take over the database at from.
func (op *operations) StartImport(_ context.Context, from, by string) (clusterapi.Import, error) {
	return op.imports.start(from, by)
}

// Import is how far this node has come with the newest import.
func (op *operations) Import(context.Context) (clusterapi.Import, error) {
	return op.imports.state(), nil
}

// start notes what is to be read; run reads it.
func (im *imports) start(from, by string) (clusterapi.Import, error) {
	addr, err := flush.ParseAddress(from)
	if err != nil {
		return clusterapi.Import{}, &clusterapi.Fault{Status: 400, Code: "bad_database", Message: "from: " + err.Error() + ": write postgresql://user:password@host:5432/database"}
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.now.State == clusterapi.ImportRunning {
		return clusterapi.Import{}, &clusterapi.Fault{Status: 409, Code: "importing", Message: fmt.Sprintf("%s has been reading %s since %s: wait for its end.",
			im.node, im.now.From, im.now.Started.Format(time.RFC3339))}
	}
	im.now = clusterapi.Import{
		State: clusterapi.ImportRunning, Node: im.node, By: by, Started: pointer(im.clock.Now()),
		From: fmt.Sprintf("%s:%d/%s", addr.ConnConfig.Host, addr.ConnConfig.Port, addr.ConnConfig.Database),
	}
	im.begun <- from // nothing else is in there: one import at a time
	return im.now, nil
}

func (im *imports) state() clusterapi.Import {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.now
}

// run reads what start has noted, until the node stops.
func (im *imports) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case from := <-im.begun:
			im.take(ctx, from)
		}
	}
}

func (im *imports) take(ctx context.Context, from string) {
	r, err := im.read(ctx, from, func(done, total int, what string) {
		im.mu.Lock()
		im.now.Done, im.now.Total, im.now.What = done, total, what
		im.mu.Unlock()
	})
	im.mu.Lock()
	defer im.mu.Unlock()
	im.now.State, im.now.Ended, im.now.What = clusterapi.ImportDone, pointer(im.clock.Now()), ""
	im.now.Report = &clusterapi.Imported{Taken: r.Taken, Existed: r.Existed, Left: r.Left, Reasons: r.Reasons}
	if err != nil {
		im.now.State, im.now.Error = clusterapi.ImportFailed, withoutPassword(err, from)
		im.log.Warn("import of LiteLLM's database failed", "from", im.now.From, "error", im.now.Error)
	}
}

// withoutPassword is an error's text for readers who were not told the address.
// The database's library masks passwords itself; this does not rely on it.
func withoutPassword(err error, from string) string {
	text := err.Error()
	if addr, e := flush.ParseAddress(from); e == nil && addr.ConnConfig.Password != "" {
		text = strings.ReplaceAll(text, addr.ConnConfig.Password, "****")
	}
	return strings.ReplaceAll(text, from, "****")
}

// signingKey is what LiteLLM's values in a database are sealed with.
func (n *node) signingKey() string { return cmp.Or(n.env("LITELLM_SALT_KEY"), n.master) }

// proposeTaken makes objects that were read from a database.
func (n *node) proposeTaken(ctx context.Context, m model.Mutation) error {
	r, err := n.cluster.Mutate(ctx, m)
	if err == nil && r.Conflict != nil {
		err = r.Conflict
	}
	return err
}
