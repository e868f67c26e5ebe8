// Package alert watches what budgets have used and raises each alert once: when
// a soft budget is passed, and when a budget is nearly or wholly used up. It
// looks from beside: no call waits for it, and it refuses nothing. It does not
// count money and does not know where alerts are sent.
package alert

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

// Kind is what has happened, by LiteLLM's names of events.
type Kind string

// The kinds.
const (
	SoftBudgetCrossed Kind = "soft_budget_crossed"
	ThresholdCrossed  Kind = "threshold_crossed" // little is left
	BudgetCrossed     Kind = "budget_crossed"    // nothing is
)

// Alert is one budget at one threshold.
type Alert struct {
	Kind   Kind
	Scope  model.Scope
	Amount unit.Money // the threshold
	Spent  unit.Money // in the budget's window
	Max    unit.Money // 0: only a soft budget
	Soft   unit.Money // 0: none
	Resets time.Time  // zero: never
	At     time.Time
}

// Config of a Watcher.
type Config struct {
	Node  string
	State state.Getter
	// Uses are the budgets that calls have lately been charged to, with what
	// they have used.
	Uses func() []budget.Use
	// Mutate has the cluster agree on changes; applied is false when the state
	// was otherwise than they expect.
	Mutate func(ctx context.Context, changes []model.Change) (applied bool, err error)
	// Raised hears of an alert that this node has to send. It must not block.
	Raised func(s *state.Snapshot, a Alert)
	Clock  unit.Clock
	Logger *slog.Logger
	Every  time.Duration // between looks; 0: five seconds
}

// Watcher finds budgets that have passed a threshold.
type Watcher struct {
	cfg  Config
	done map[string]mark // what needs no further look, by alert
}

// mark is a threshold that was passed in a window.
type mark struct {
	window int64
	amount unit.Money
}

// keepDone bounds what a node remembers of alerts: beyond it the state is asked
// again.
const keepDone = 100_000

// New checks the dependencies of a Watcher.
func New(cfg Config) (*Watcher, error) {
	if cfg.State == nil || cfg.Uses == nil || cfg.Mutate == nil || cfg.Raised == nil || cfg.Clock == nil || cfg.Logger == nil {
		return nil, errors.New("alert: a dependency is missing")
	}
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Second
	}
	return &Watcher{cfg: cfg, done: map[string]mark{}}, nil
}

// sweepEvery is how often alerts of budgets that are gone are forgotten.
const sweepEvery = time.Hour

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	look, sweep := time.NewTicker(w.cfg.Every), time.NewTicker(sweepEvery)
	defer look.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			w.Look(ctx)
		case <-sweep.C:
			w.Sweep(ctx)
		}
	}
}

// Look raises what is due now.
func (w *Watcher) Look(ctx context.Context) {
	s := w.cfg.State.State()
	wide := s.ActiveConfig() != nil && len(s.ActiveConfig().Config.General.Alerting) > 0
	for _, u := range w.cfg.Uses() {
		if ctx.Err() != nil {
			return
		}
		w.check(ctx, s, u, wide)
	}
}

// check looks at one budget. The thresholds of its limit are of interest only
// where somebody asked for alerts.
func (w *Watcher) check(ctx context.Context, s *state.Snapshot, u budget.Use, wide bool) {
	soft, hasSoft := s.SoftBudgetOf(u.Scope)
	if !hasSoft && !wide {
		return
	}
	def, ok := s.BudgetOf(u.Scope)
	if !ok {
		return
	}
	a := Alert{Scope: u.Scope, Spent: u.Spent.Add(def.OffsetIn(u.Window)), Soft: soft, At: w.cfg.Clock.Now().UTC()}
	if def.Limit != unit.MaxMoney {
		a.Max = def.Limit
	}
	if !def.Window.Endless() {
		_, end := def.Window.Span(time.Unix(u.Window, 0), def.Anchor, location(s))
		a.Resets = end.UTC()
	}
	if hasSoft && a.Spent >= soft {
		w.raise(ctx, s, u.Window, "soft", a.at(SoftBudgetCrossed, soft))
	}
	if !wide || a.Max <= 0 {
		return
	}
	// The highest that was passed: the lower ones are no news any more.
	switch {
	case a.Spent >= a.Max:
		w.raise(ctx, s, u.Window, "100", a.at(BudgetCrossed, a.Max))
	case a.Spent >= a.Max-a.Max/20:
		w.raise(ctx, s, u.Window, "95", a.at(ThresholdCrossed, a.Max-a.Max/20))
	case a.Spent >= a.Max-a.Max/20*3:
		w.raise(ctx, s, u.Window, "85", a.at(ThresholdCrossed, a.Max-a.Max/20*3))
	}
}

func (a Alert) at(kind Kind, amount unit.Money) Alert {
	a.Kind, a.Amount = kind, amount
	return a
}

// raise sends an alert unless it was sent in this window before, by whatever
// node. The node whose entry the cluster takes is the one that sends.
func (w *Watcher) raise(ctx context.Context, s *state.Snapshot, window int64, threshold string, a Alert) {
	id, now := model.AlertID(a.Scope, threshold), mark{window, a.Amount}
	if w.done[id] == now {
		return
	}
	entry := &model.Alert{Scope: a.Scope, Threshold: threshold, Amount: a.Amount, Window: window, Node: w.cfg.Node}
	if old, ok := s.Alerts.Get(id); ok {
		if old.Window > window || (mark{old.Window, old.Amount}) == now {
			w.mark(id, now)
			return
		}
		entry.Meta = old.Meta
	}
	applied, err := w.cfg.Mutate(ctx, []model.Change{model.Put(model.Alerts, entry, model.Version(entry.EntityVersion()))})
	if err != nil {
		// Tried again at the next look: nothing is known to be sent.
		w.cfg.Logger.Warn("alert not agreed on", "scope", a.Scope.Dim.String(), "id", a.Scope.ID, "error", err)
		return
	}
	if !applied {
		return // another node was first, which the next look finds in the state
	}
	w.mark(id, now)
	w.cfg.Logger.Warn("budget alert", "event", string(a.Kind), "scope", a.Scope.Dim.String(), "id", a.Scope.ID,
		"spend", a.Spent.String(), "threshold", a.Amount.String(), "max_budget", a.Max.String())
	w.cfg.Raised(s, a)
}

func (w *Watcher) mark(id string, m mark) {
	if len(w.done) >= keepDone {
		clear(w.done)
	}
	w.done[id] = m
}

// Sweep forgets the alerts of budgets that are gone.
func (w *Watcher) Sweep(ctx context.Context) {
	s := w.cfg.State.State()
	var gone []model.Change
	for id, a := range s.Alerts.All() {
		if _, ok := s.BudgetOf(a.Scope); !ok && len(gone) < 500 {
			gone = append(gone, model.Delete(model.Alerts, id, model.Version(a.EntityVersion())))
		}
	}
	if len(gone) == 0 {
		return
	}
	if _, err := w.cfg.Mutate(ctx, gone); err != nil {
		w.cfg.Logger.Debug("alerts of deleted budgets not forgotten", "error", err)
	}
}

// location is the time zone of calendar windows.
func location(s *state.Snapshot) *time.Location {
	if v := s.ActiveConfig(); v != nil && v.Config.LiteLLM.Timezone != "" {
		if loc, err := time.LoadLocation(v.Config.LiteLLM.Timezone); err == nil {
			return loc
		}
	}
	return time.UTC
}
