package run

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" // served only where --pprof-listen says
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
	"tollgate/proxy/admin"
	"tollgate/proxy/call"
	"tollgate/proxy/provider/registry"
	"tollgate/proxy/server"
	"tollgate/proxy/upstream"
)

// node is everything that one process runs, in the order in which it is made.
type node struct {
	o        Options
	log      *slog.Logger
	clock    unit.Clock
	loaded   *file.Loaded
	master   string // the master key in the clear, for the operator's eyes only
	identity *cluster.Identity
	box      *secret.Box
	store    *state.Store
	applied  *applied
	bank     *budget.Bank
	cluster  *cluster.Node
	ledger   *store.Ledger
	account  *budget.Account
	rates    *rate.Limiter
	calls    *call.Handler
	server   *server.Server
	upstream *upstream.Client
	metrics  *prometheus.Registry
	listener net.Listener
}

// startWithin bounds how long a node may take to agree with itself.
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
	if err := n.openState(); err != nil {
		return err
	}
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
	if err := n.checkDatabase(); err != nil {
		return err
	}
	n.identity, err = cluster.LoadIdentity(n.o.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.o.DataDir, err)
	}
	return nil
}

// checkDatabase looks at a PostgreSQL address that was given. This release keeps
// its books in the ledger alone; a wrong address is told now all the same, not
// on the day it is first used.
func (n *node) checkDatabase() error {
	addr, where := n.loaded.Config.General.DatabaseURL, "general_settings.database_url"
	if addr == "" {
		addr, where = n.env("DATABASE_URL"), "DATABASE_URL"
	}
	if addr == "" {
		return nil
	}
	u, err := url.Parse(addr)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
		return fmt.Errorf("%s is no PostgreSQL address: write postgresql://user:password@host:5432/database", where)
	}
	n.log.Warn("PostgreSQL is not used in this release: keys stand in the data directory, spend in its ledger", "setting", where, "host", u.Host)
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

// openState opens secrets, state machines and raft. Requests read what they
// publish; nothing else depends on their order.
func (n *node) openState() error {
	text, _ := n.o.Env("TOLLGATE_KEK")
	if text == "" {
		text, _ = n.o.Env("LITELLM_SALT_KEY")
	}
	kek, err := secret.LoadKEK(text, n.o.DataDir)
	if err != nil {
		return err
	}
	n.box = secret.NewBox(kek)
	n.store = state.NewStore(state.Compiler(state.CompileDeps{
		Book: price.Default(), Providers: registry.Defaults(), Env: n.providerEnv(),
		OpenConfig: n.box.OpenConfig, OpenDeployment: n.box.OpenDeployment,
	}))
	applier := state.NewApplier(n.store)
	n.applied = &applied{store: n.store}
	n.bank = newBank(n.applied, applier)
	n.cluster, err = cluster.Open(cluster.Config{
		Dir: n.o.DataDir, Identity: n.identity, Name: n.o.Name, Region: n.o.Region, Zone: n.o.Zone, Bootstrap: true,
		Appliers: map[command.Type]fsm.Applier{command.Mutation: applier, command.BudgetBatch: bankApplier{n.bank}},
		Box:      n.box, KeysChanged: n.store.Recompile, Logger: n.log, Clock: n.clock,
	})
	return err
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

// run starts what runs, waits for the end and stops in order: no new calls,
// calls in flight settled, budgets reported, ledger synced, raft closed.
func (n *node) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.Background())
	defer stop()
	group, groupCtx := errgroup.WithContext(background)
	group.Go(func() error { return n.cluster.Run(groupCtx) })
	err := n.serve(ctx, groupCtx, group)
	stop()
	err = errors.Join(err, ignoreCanceled(group.Wait()))
	return errors.Join(err, n.close(err == nil))
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve brings the node to readiness and answers until ctx ends.
func (n *node) serve(ctx, background context.Context, group *errgroup.Group) error {
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := n.cluster.WaitReady(starting); err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	if err := n.proposeConfig(starting); err != nil {
		return err
	}
	if err := n.openBooks(starting, background, group); err != nil {
		return err
	}
	if err := n.openFront(); err != nil {
		return err
	}
	if err := n.openProfiler(background, group); err != nil {
		return err
	}
	n.announce()
	serving, halt := context.WithCancel(ctx)
	defer halt()
	group.Go(func() error { // a failing room ends the node, in order
		<-background.Done()
		halt()
		return nil
	})
	return n.server.Run(serving, n.listener, n.o.DrainTimeout)
}

// openBooks opens the ledger, tells the bank what earlier starts have spent and
// makes the limiter.
func (n *node) openBooks(ctx, background context.Context, group *errgroup.Group) error {
	settings := &n.store.State().Routing.Config.Tollgate
	var err error
	n.ledger, err = store.Open(store.Config{
		Dir: n.o.path("ledger"), Incarnation: n.identity.Incarnation, Sync: store.Mode(settings.LedgerSync),
		Clock: n.clock, Logger: n.log, MaxBytes: n.o.LedgerMax,
		Fatal: func(err error) {
			n.log.Error("the ledger cannot go on", "error", err)
			os.Exit(3) // the next start charges what was open
		},
	})
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	if left := n.ledger.Interrupted(); len(left) > 0 {
		n.log.Warn("calls of an earlier start were interrupted and charged at their maximum", "calls", len(left))
	}
	group.Go(func() error { return n.ledger.Run(background) })
	seed := sha256.Sum256([]byte("limits of " + n.identity.ClusterID))
	n.rates = rate.New(rate.Config{Clock: n.clock, Seed: [16]byte(seed[:16])})
	group.Go(func() error { return n.rates.Run(background) })
	n.account, err = budget.NewAccount(budget.Config{
		Node: budget.NodeID(n.identity.NodeID), Incarnation: n.identity.Incarnation, Propose: n.proposeBudget,
		Look: func(sc model.Scope) (budget.View, bool) {
			return n.bank.Look(sc, budget.NodeID(n.identity.NodeID), n.identity.Incarnation)
		},
		Clock: n.clock, Log: n.log, WaitMax: time.Duration(settings.BudgetWaitMax * float64(time.Second)),
	})
	if err != nil {
		return err
	}
	n.bank.Watch(n.account.Observe)
	if err := n.closeEarlierBooks(ctx); err != nil {
		return err
	}
	group.Go(func() error { return n.account.Run(background) })
	return nil
}

// closeEarlierBooks gives the bank the final sums of this node's earlier
// starts. If the machine has lost power meanwhile, settlements of the last
// moments may be missing, so all credit held then counts as spent.
func (n *node) closeEarlierBooks(ctx context.Context) error {
	rec := budget.Recovery{WriteOff: n.identity.Rebooted || n.ledger.MachineRestarted()}
	incarnations, err := n.ledger.Incarnations()
	if err != nil {
		return fmt.Errorf("read earlier starts: %w", err)
	}
	var settled []budget.Settled
	for _, inc := range incarnations {
		if inc == n.identity.Incarnation {
			continue
		}
		sums, err := n.ledger.Settled(inc)
		if err != nil {
			return fmt.Errorf("read what start %d has settled: %w", inc, err)
		}
		for _, s := range sums {
			settled = append(settled, budget.Settled{Incarnation: inc, Scope: s.Scope, Window: s.Window, S: s.Sum})
		}
	}
	rec.Settled = func(yield func(budget.Settled) bool) {
		for _, s := range settled {
			if !yield(s) {
				return
			}
		}
	}
	if err := n.account.Start(ctx, rec); err != nil {
		return err
	}
	for _, inc := range incarnations { // the bank has them now
		if inc == n.identity.Incarnation {
			continue
		}
		if err := n.ledger.DropSettled(inc); err != nil {
			return fmt.Errorf("forget the sums of start %d: %w", inc, err)
		}
	}
	if rec.WriteOff {
		n.log.Warn("the machine restarted without a clean stop: credit held then counts as spent")
	}
	return nil
}

func (n *node) proposeBudget(ctx context.Context, payload []byte) (*budget.Answer, error) {
	answer, _, err := n.cluster.Submit(ctx, command.BudgetBatch, budget.Version, payload)
	if err != nil {
		return nil, err
	}
	a, ok := answer.(*budget.Answer)
	if !ok {
		return nil, errNoAnswer
	}
	return a, a.Err
}

// openFront builds what answers requests.
func (n *node) openFront() error {
	n.registerMetrics()
	n.upstream = upstream.New(upstream.Config{})
	providers := registry.New(n.providerRows)
	var calls *call.Handler
	calls = call.New(call.Deps{
		State: n.store, Admit: admit.New(n.rates, n.account), Ledger: n.ledger, Upstream: n.upstream,
		Providers: providers.Find, Metrics: call.NewMetrics(n.metrics, func() int64 { return calls.InFlight() }),
		Clock: n.clock, Logger: n.log, Region: n.o.Region, Version: n.o.Version,
	})
	n.calls = calls
	books := query.NewEmbedded(n.ledger, func() query.UserColumn {
		return query.UserColumn(n.store.State().Routing.Config.Tollgate.UserColumn)
	})
	management, err := admin.New(admin.Deps{
		State: n.store, Mutate: n.cluster.Mutate, Unavailable: unavailable, Spend: spend{Query: books, ledger: n.ledger, bank: n.bank, account: n.account},
		SealDeployment: n.sealDeployment, IsSecret: file.IsSecretParam,
		MasterKeyHash: n.masterHash, Clock: n.clock, Logger: n.log, Rand: rand.Reader,
	})
	if err != nil {
		return err
	}
	n.server = server.New(server.Deps{
		State: n.store, MasterHash: n.masterHash, Calls: n.calls, Management: management, Readiness: n,
		Gatherer: n.metrics, Clock: n.clock, Logger: n.log, Version: n.o.Version,
	})
	return nil
}

func (n *node) masterHash() string {
	if r := n.store.State().Routing; r != nil {
		return r.Config.General.MasterKeyHash
	}
	return ""
}

func (n *node) providerRows() []model.OpenAIRow {
	if r := n.store.State().Routing; r != nil {
		return r.Config.Tollgate.Providers
	}
	return nil
}

// sealDeployment makes a deployment given over the API fit to be replicated.
func (n *node) sealDeployment(d *model.Deployment) error {
	resolved, err := file.ResolveParams(d.Params, n.providerEnv())
	if err != nil {
		return err
	}
	d.Params = resolved
	return n.box.SealDeployment(d, file.IsSecretParam)
}

// openProfiler serves Go's profiler on a listener of its own, when asked for.
func (n *node) openProfiler(ctx context.Context, group *errgroup.Group) error {
	if n.o.PprofListen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", n.o.PprofListen)
	if err != nil {
		return fmt.Errorf("--pprof-listen %s: %w", n.o.PprofListen, err)
	}
	srv := &http.Server{Handler: http.DefaultServeMux, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	group.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// close ends what holds data, last things last.
func (n *node) close(clean bool) error {
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if n.account != nil {
		if err := n.account.Flush(limit); err != nil {
			n.log.Warn("budgets not reported before the stop; the next start reports them", "error", err)
		}
	}
	if n.upstream != nil {
		n.upstream.Close()
	}
	if n.ledger != nil {
		errs = append(errs, n.ledger.Close())
	}
	errs = append(errs, n.cluster.Close())
	if err := errors.Join(errs...); err != nil || !clean {
		return err
	}
	if err := n.identity.CleanShutdown(); err != nil {
		return err
	}
	n.log.Info("stopped")
	return nil
}

// newLogger writes one line a fact, keys masked.
func newLogger(o Options) *slog.Logger {
	level := slog.LevelInfo
	switch strings.ToUpper(o.LogLevel) {
	case "DEBUG":
		level = slog.LevelDebug
	case "WARNING", "WARN":
		level = slog.LevelWarn
	case "ERROR":
		level = slog.LevelError
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: secret.ReplaceAttr}
	if o.LogJSON {
		return slog.New(slog.NewJSONHandler(o.Out, opts))
	}
	return slog.New(slog.NewTextHandler(o.Out, opts))
}
