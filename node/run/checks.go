package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster/health"
	"tollgate/config/state"
	"tollgate/ledger/flush/checks"
	"tollgate/proxy/call"
	"tollgate/proxy/server"
)

// modelChecks asks models how they are: when somebody wants to know, or, with
// background_health_checks, every so often. Then one node of each region does
// it, for the others too, and what it found is what everybody is told.
type modelChecks struct {
	n      *node
	writer *checks.Writer // nil without PostgreSQL

	mu    sync.Mutex // guards the fields below
	round round
	rows  map[string]rowed // by deployment
}

// round is what one look at all models found.
type round struct {
	At      time.Time     `json:"at"`
	Results []call.Probed `json:"results"`
}

// rowed is what was last written of a deployment.
type rowed struct {
	fault string
	at    time.Time
}

const (
	methodChecks = "model checks"
	// checkEvery is health_check_interval where nobody sets it.
	checkEvery = 300 * time.Second
	// checkAtLeast is the shortest interval: checks cost money.
	checkAtLeast = time.Second
	// rowEvery is how often a row says that nothing has changed.
	rowEvery = time.Hour
	// askCheckerWithin bounds how long the node that checks is waited for.
	askCheckerWithin = 2 * time.Second
	// manualWithin bounds a look at all models that somebody waits for.
	manualWithin = 5 * time.Minute
)

func (n *node) openChecks() {
	n.checks = &modelChecks{n: n, rows: map[string]rowed{}}
	n.port.Handle(methodChecks, func(context.Context, string, []byte) ([]byte, error) {
		n.checks.mu.Lock()
		defer n.checks.mu.Unlock()
		return json.Marshal(n.checks.round)
	})
}

// openChecksDatabase makes what brings results into PostgreSQL.
func (n *node) openChecksDatabase(background context.Context, group *errgroup.Group) error {
	w, err := checks.NewWriter(checks.Config{Pool: n.db.Projection(), Ready: n.db.Ready, Clock: n.clock, Logger: n.log})
	if err != nil {
		return err
	}
	n.checks.writer = w
	group.Go(func() error { return w.Run(background) })
	return nil
}

// run checks in the background, as long as the configuration wants it and this
// node is the one of its region that does.
func (m *modelChecks) run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		snap := m.n.store.State()
		every, on := checkInterval(snap)
		if !on || m.checker() != m.n.identity.NodeID {
			continue
		}
		m.mu.Lock()
		due := m.n.clock.Now().Sub(m.round.At) >= every
		m.mu.Unlock()
		if due {
			m.look(ctx, snap)
		}
	}
}

// checkInterval is how often models are checked, if they are.
func checkInterval(snap *state.Snapshot) (every time.Duration, on bool) {
	if snap.Routing == nil || !snap.Routing.Config.General.BackgroundHealth {
		return 0, false
	}
	every = time.Duration(snap.Routing.Config.General.HealthInterval * float64(time.Second))
	if every <= 0 {
		every = checkEvery
	}
	return max(every, checkAtLeast), true
}

// checker is the node of this region that checks: of those alive, the one with
// the smallest id.
func (m *modelChecks) checker() string {
	least := m.n.identity.NodeID
	for _, p := range health.PeersOf(m.n.place.members()) {
		if p.Region == m.n.o.Region && p.ID < least {
			least = p.ID
		}
	}
	return least
}

func (m *modelChecks) look(ctx context.Context, snap *state.Snapshot) {
	at := m.n.clock.Now()
	found := m.n.calls.Probe(ctx, snap, func(d *state.Deployment) bool {
		return string(d.Info["disable_background_health_check"]) != "true"
	})
	if ctx.Err() != nil {
		return // what was cut short says nothing
	}
	m.mu.Lock()
	m.round = round{At: at, Results: found}
	m.mu.Unlock()
	m.write(found, at)
}

// write has a row written of each model that is not as it was, and of the others
// now and then.
func (m *modelChecks) write(found []call.Probed, now time.Time) {
	if m.writer == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range found {
		p := &found[i]
		was, known := m.rows[p.ID]
		if known && was.fault == p.Fault && now.Sub(was.at) < rowEvery {
			continue
		}
		m.writer.Add(checks.NewRow(p.Group, p.ID, p.Fault, m.n.identity.NodeID, p.At, p.Took))
		m.rows[p.ID] = rowed{p.Fault, now}
	}
	for id, was := range m.rows {
		if now.Sub(was.at) > 2*rowEvery { // the model is gone, or nobody asks for it any more
			delete(m.rows, id)
		}
	}
}

// Models is what /health tells of the models that are wanted. With background
// checks it is what the last round found; nobody's asking costs money then.
func (m *modelChecks) Models(snap *state.Snapshot, wanted func(*state.Deployment) bool) map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), manualWithin)
	defer cancel()
	details := string(snap.Routing.Config.General.Raw["health_check_details"]) != "false"
	if every, on := checkInterval(snap); on {
		if last, ok := m.last(ctx, every); ok {
			list := slices.DeleteFunc(slices.Clone(last.Results), func(p call.Probed) bool {
				d, there := snap.Routing.ByID[p.ID]
				return !there || !wanted(d)
			})
			return call.ProbeReport(list, details)
		}
	}
	found := m.n.calls.Probe(ctx, snap, wanted)
	m.write(found, m.n.clock.Now())
	return call.ProbeReport(found, details)
}

// last is what the node that checks found last, when that is not long ago.
func (m *modelChecks) last(ctx context.Context, every time.Duration) (round, bool) {
	fresh := func(r *round) bool {
		return !r.At.IsZero() && m.n.clock.Now().Sub(r.At) < 3*every
	}
	checker := m.checker()
	if checker != m.n.identity.NodeID {
		limit, cancel := context.WithTimeout(ctx, askCheckerWithin)
		defer cancel()
		if r, err := m.ask(limit, checker); err == nil && fresh(&r) {
			return r, true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.round, fresh(&m.round)
}

func (m *modelChecks) ask(ctx context.Context, checker string) (round, error) {
	answer, err := m.n.port.Call(ctx, checker, methodChecks, nil)
	if err != nil {
		return round{}, fmt.Errorf("ask %s for its checks: %w", checker, err)
	}
	var r round
	if err := json.Unmarshal(answer, &r); err != nil {
		return round{}, fmt.Errorf("ask %s for its checks: %w", checker, err)
	}
	return r, nil
}

// History is what PostgreSQL has of earlier checks; none without one.
func (m *modelChecks) History(ctx context.Context, f checks.Filter) ([]checks.Row, error) {
	if m.n.db == nil {
		return []checks.Row{}, nil
	}
	return checks.History(ctx, m.n.db.Queries(), f)
}

// Latest is the last check of each model.
func (m *modelChecks) Latest(ctx context.Context) ([]checks.Row, error) {
	if m.n.db == nil {
		return []checks.Row{}, nil
	}
	return checks.Latest(ctx, m.n.db.Queries())
}

var (
	_ server.Checks = (*modelChecks)(nil)
)
