package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/peer"
	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
	"tollgate/ledger/flush/project"
	"tollgate/ledger/once"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
	"tollgate/ledger/verify"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
	"tollgate/proxy/cache"
	"tollgate/proxy/call"
	"tollgate/proxy/server"
	"tollgate/proxy/upstream"
)

// node is everything that one process runs, in the order in which it is made.
type node struct {
	o         Options
	log       *slog.Logger
	clock     unit.Clock
	loaded    *file.Loaded
	master    string // the master key in the clear, for the operator's eyes only
	identity  *cluster.Identity
	port      *peer.Port
	place     *place
	health    *upstreamHealth
	checks    *modelChecks
	box       *secret.Box
	store     *state.Store
	applied   *applied
	bank      *budget.Bank
	claims    *once.Claims
	audits    *auditTrail
	cluster   *cluster.Node
	ledger    *store.Ledger
	readers   *reader.Set
	db        *flush.Database // nil without PostgreSQL
	projector *project.Projector
	imports   *imports
	copies    *copies
	// flushedAtStart is what PostgreSQL had when this start last heard of it.
	flushedAtStart uint64
	verify         verify.Books // what a recount looks at
	account        *budget.Account
	answers        *once.Desk
	rates          *rate.Limiter
	peers          *limitPeers
	limits         atomic.Pointer[rate.Limiter] // rates, for other nodes' calls
	calls          *call.Handler
	cache          *cache.Cache
	server         *server.Server
	upstream       *upstream.Client
	metrics        *prometheus.Registry
	listener       net.Listener
	starting       *starting
	figures        atomic.Pointer[figures]
	asked          atomic.Pointer[once.Desk] // answers, for other nodes' calls

	leave context.CancelCauseFunc // ends the node on its own wish
}

// Why a node ends on its own wish.
var (
	errLeaves = errors.New("the node leaves the cluster")
	errEnds   = errors.New("a part of the node has ended")
)

// startWithin bounds how long a node that is alone may take to agree with
// itself. One that has others waits for them as long as it takes.
const startWithin = 60 * time.Second

// Serve runs a node until ctx ends, then stops it in order.
func Serve(ctx context.Context, o Options) error {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	defer runtime.KeepAlive(spareCollections())
	n := &node{o: o, log: newLogger(o), clock: unit.SystemClock{}, metrics: prometheus.NewRegistry()}
	// The port first: a node that cannot serve must leave nothing behind.
	var err error
	if n.listener, err = net.Listen("tcp", o.Listen); err != nil {
		return fmt.Errorf("--listen %s: %w", o.Listen, err)
	}
	defer n.closeListener()
	if err := n.read(); err != nil {
		return err
	}
	defer n.closeIdentity()
	if err := gossip.InstallLibraryMetrics(n.metrics); err != nil {
		n.log.Warn("the figures of raft and memberlist are not shown", "error", err)
	}
	if err := n.openPort(); err != nil {
		return err
	}
	n.starting = answerWhileStarting(n.listener, startQuietly)
	return n.run(ctx)
}

// read takes in the config file and who this node is. Nothing is started yet:
// a bad file stops here, with every fault at once.
func (n *node) read() error {
	if err := os.MkdirAll(n.o.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	loaded := &file.Loaded{Config: &model.Config{}}
	var err error
	if n.o.ConfigFile != "" {
		loaded, err = file.Load(n.o.ConfigFile, n.o.Env)
	} else {
		loaded, err = file.Parse("(no config file)", nil, n.o.Env, nil)
	}
	if err != nil {
		return err
	}
	for _, f := range loaded.Skipped {
		n.log.Error("model_list entry skipped", "problem", f.Error())
	}
	for _, f := range loaded.Warnings {
		n.log.Warn("config", "problem", f.Error())
	}
	n.loaded = loaded
	if addr := loaded.Config.General.DatabaseURL; addr != "" {
		err = checkDatabaseURL("general_settings.database_url", addr)
	} else {
		_, err = databaseURL(n.env)
	}
	if err != nil {
		return err
	}
	n.identity, err = cluster.LoadIdentity(n.o.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.o.DataDir, err)
	}
	return nil
}

func (n *node) closeListener() {
	if err := n.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		n.log.Warn("listener not closed", "error", err)
	}
}

func (n *node) closeIdentity() {
	if err := n.identity.Close(); err != nil {
		n.log.Warn("identity not closed", "error", err)
	}
}

// providerEnv looks up keys that the configuration leaves to the environment,
// its own environment_variables first.
func (n *node) providerEnv() file.Env {
	return func(name string) (string, bool) {
		if v, ok := n.loaded.Exports[name]; ok {
			return v, true
		}
		return n.o.Env(name)
	}
}

// run finds the node's place in a cluster, starts what runs, waits for the end
// and stops in order: no new calls, calls in flight settled, budgets reported,
// leadership handed on, ledger synced, raft closed.
func (n *node) run(told context.Context) error {
	var ctx context.Context
	ctx, n.leave = context.WithCancelCause(told)
	defer n.leave(nil)
	ground, lift := context.WithCancel(context.Background())
	defer lift()
	base, baseCtx := errgroup.WithContext(ground) // what the others stand on
	base.Go(func() error { return n.port.Run(baseCtx) })
	n.starting.say("looking for its cluster")
	err := n.enter(ctx)
	if err == nil {
		err = n.openState()
	}
	if err != nil {
		lift()
		if why := ownWish(told, ctx); why != nil {
			err = errors.Join(why, ignoreCanceled(err))
		}
		return errors.Join(err, ignoreCanceled(base.Wait()))
	}
	raftCtx, stopRaft := context.WithCancel(context.Background())
	defer stopRaft()
	raftDone := make(chan error, 1)
	go func() {
		err := n.cluster.Run(raftCtx)
		if err != nil {
			n.leave(fmt.Errorf("%w: %w", errEnds, err))
		}
		raftDone <- err
	}()
	base.Go(func() error { return n.place.run(baseCtx) })
	context.AfterFunc(baseCtx, func() { n.leave(errEnds) })

	background, stop := context.WithCancel(context.Background())
	defer stop()
	group, groupCtx := errgroup.WithContext(background)
	err = n.serve(ctx, groupCtx, group)
	stop()
	err = errors.Join(err, ignoreCanceled(group.Wait()))
	left, partErr := n.part(errors.Is(context.Cause(ctx), errLeaves))
	err = errors.Join(err, partErr)
	// The port before raft: raft's reads between nodes have no deadline.
	lift()
	err = errors.Join(err, ignoreCanceled(base.Wait()))
	stopRaft()
	err = errors.Join(err, <-raftDone)
	return errors.Join(err, n.close(err == nil, left), ownWish(told, ctx))
}

// ownWish is why the node ends although nobody told it to, such as a cluster
// that was recovered without it. It is nil when the end is in order, and for
// parts that have ended, which return their errors themselves.
func ownWish(told, ctx context.Context) error {
	why := context.Cause(ctx)
	if why == nil || told.Err() != nil && why == context.Cause(told) || errors.Is(why, errLeaves) || errors.Is(why, errEnds) {
		return nil
	}
	return why
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve brings the node to readiness and answers until ctx ends.
func (n *node) serve(ctx, background context.Context, group *errgroup.Group) error {
	starting, cancel := n.patience(ctx)
	defer cancel()
	n.starting.say("waiting for a leader")
	if err := n.awaitCluster(starting); err != nil {
		return fromStop(ctx, err)
	}
	if err := n.proposeConfig(starting); err != nil {
		return fromStop(ctx, err)
	}
	n.starting.say("opening its books")
	if n.place.witness() {
		return n.bearWitness(ctx)
	}
	if err := n.openBooks(starting, background, group); err != nil {
		return fromStop(ctx, err)
	}
	n.openChecks()
	if err := n.openReaders(background, group); err != nil {
		return err
	}
	n.openImports(background, group)
	n.openCache(background, group)
	if err := n.openFront(); err != nil {
		return err
	}
	if err := n.openProfiler(background, group); err != nil {
		return err
	}
	if err := n.openAlerts(background, group); err != nil {
		return err
	}
	n.awaitTakeover(starting)
	n.announce()
	group.Go(func() error { return n.reloads(background) })
	group.Go(func() error { return n.makesCustomers(background) })
	group.Go(func() error { return n.checks.run(background) })
	group.Go(func() error { return giveMemoryBack(background) })
	n.starting.end()
	context.AfterFunc(ctx, n.place.sayDraining)
	context.AfterFunc(background, func() { n.leave(errEnds) }) // a failing room ends the node, in order
	err := n.server.Run(ctx, n.listener, n.o.DrainTimeout)
	n.flushReaders()
	if errors.Is(context.Cause(ctx), errLeaves) {
		n.handOver()
	}
	return err
}

// fromStop drops what failed only because the node was stopped meanwhile.
func fromStop(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cluster.ErrClosed)) {
		return nil
	}
	return err
}

// patience is how long the node waits for the others before it serves.
func (n *node) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if n.cluster.Status().Members > 1 || n.place.joined {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startWithin)
}

// part tells the others that this node goes: what it has spent, that another
// may lead, and, when it leaves for good, that it is no member any more. It
// tells whether the node has left: only then its part of the cluster's state may
// go, for as a member it would be missed.
func (n *node) part(leaves bool) (left bool, err error) {
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if n.account != nil {
		if err := n.account.Flush(limit); err != nil {
			n.log.Warn("budgets not reported before the stop; the next start reports them", "error", err)
		}
	}
	if leaves {
		err = n.takeLeave(limit)
		left = err == nil
	}
	if e := n.cluster.StepDown(limit); e != nil {
		n.log.Debug("leadership not handed on", "error", e)
	}
	n.place.sayBye()
	return left, err
}

// close ends what holds data, last things last.
func (n *node) close(clean, left bool) error {
	var errs []error
	if n.upstream != nil {
		n.upstream.Close()
	}
	if n.copies != nil {
		errs = append(errs, n.copies.keeper.Close())
	}
	if n.db != nil {
		n.db.Close()
	}
	if n.ledger != nil {
		errs = append(errs, n.ledger.Close())
	}
	errs = append(errs, n.cluster.Close())
	if left {
		errs = append(errs, n.place.forgetCluster())
	}
	if err := errors.Join(errs...); err != nil || !clean {
		return err
	}
	if err := n.identity.CleanShutdown(); err != nil {
		return err
	}
	n.log.Info("stopped")
	return nil
}
