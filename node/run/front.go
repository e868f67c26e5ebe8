package run

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"tollgate/cluster"
	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/ledger/store"
	"tollgate/ledger/verify"
	"tollgate/limiter/admit"
	"tollgate/proxy/admin"
	"tollgate/proxy/call"
	"tollgate/proxy/clusterapi"
	"tollgate/proxy/provider/registry"
	"tollgate/proxy/route"
	"tollgate/proxy/server"
	"tollgate/proxy/upstream"
)

// openFront builds what answers requests.
func (n *node) openFront() error {
	n.registerMetrics()
	n.upstream = upstream.New(upstream.Config{})
	providers := registry.New(n.providerRows)
	router := route.New(route.Config{Health: n.health, Load: n.health, Region: n.o.Region, Clock: n.clock})
	n.health.tell(router, n.clock.Now)
	var calls *call.Handler
	calls = call.New(call.Deps{
		State: n.store, Admit: admit.New(n.rates, n.account), Ledger: n.ledger, Upstream: n.upstream,
		Providers: providers.Find, Metrics: call.NewMetrics(n.metrics, func() int64 { return calls.InFlight() }),
		Clock: n.clock, Logger: n.log, Region: n.o.Region, Node: n.o.Name, Version: n.o.Version, Health: n.health, Router: router, Cache: n.cache,
		Copied: func(seq uint64) { n.copies.sender.Wait(context.Background(), seq) }, Answers: n.answers,
	})
	n.calls = calls
	audits, err := n.openAuditLog()
	if err != nil {
		return err
	}
	management, err := admin.New(admin.Deps{
		State: n.store, Mutate: n.cluster.Mutate, Unavailable: n.unavailable, Revoked: n.cluster.Spread, Consistent: n.consistent,
		SealAnswer: func(entity, plain string) (string, error) { return n.box.Seal(entity, "answer", plain) },
		OpenAnswer: func(entity, sealed string) (string, error) { return n.box.Open(entity, "answer", sealed) },
		Verify:     func(ctx context.Context) (*verify.Report, error) { return verify.All(ctx, n.verify, nil) },
		Explain:    n.explain, Flushes: n.db != nil,
		Anew:  func() bool { return n.cluster.Feature() >= cluster.FeatureAnew },
		Spend: n.openSpend(n.openQuery()), Limits: rateLooker{n.rates}, Audit: audits, Cache: caches{n.cache, n}, Checks: n.checks,
		SealDeployment: n.sealDeployment, IsSecret: file.IsSecretParam,
		MasterKeyHash: n.masterHash, Regions: n.regions, Clock: n.clock, Logger: n.log, Rand: rand.Reader,
	})
	if err != nil {
		return err
	}
	operate, err := clusterapi.New(clusterapi.Deps{
		Cluster: &operations{n: n, imports: n.imports}, State: n.store, Unavailable: n.unavailable, Logger: n.log, Clock: n.clock,
	})
	if err != nil {
		return err
	}
	n.figures.Store(&figures{n.calls, n.ledger})
	n.server = server.New(server.Deps{
		State: n.store, MasterHash: n.masterHash, Calls: n.calls, Management: management, More: []server.Management{operate}, Readiness: n, Checks: n.checks,
		CatchUp: n.cluster.CatchUp, Staleness: n.cluster.Staleness, Notice: n.notice,
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

// figures are what gossip tells of this node, once it serves.
type figures struct {
	calls  *call.Handler
	ledger *store.Ledger
}

// notice is how long a stopping node goes on taking calls: whoever is in front
// of it must see first that it goes. A node that is alone has no such luck.
func (n *node) notice() time.Duration {
	switch {
	case n.o.DrainNotice > 0:
		return n.o.DrainNotice
	case n.cluster.Membership().Len() <= 1:
		return 0
	}
	return defaultNotice
}

// defaultNotice is what balancers take to look at readiness twice.
const defaultNotice = 5 * time.Second

// consistent brings this node's state to the level that a read asks for.
func (n *node) consistent(ctx context.Context, level string, minIndex uint64) (time.Duration, error) {
	stale, err := n.cluster.Wait(ctx, cluster.Consistency{Level: cluster.Level(level), MinIndex: minIndex})
	if errors.Is(err, cluster.ErrBehind) {
		err = fmt.Errorf("%w: %w", admin.ErrStateBehind, err)
	}
	return stale, err
}

// configHash is the hash of the config that this node runs.
func (n *node) configHash() string {
	if r := n.store.State().Routing; r != nil {
		return r.Hash
	}
	return ""
}
