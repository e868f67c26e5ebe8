package run

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/limiter/alert"
)

// Where alerts go, by the names that LiteLLM gives the variables.
var alertWays = []struct {
	way       string
	variables []string
	body      func(*alert.Alert, *state.Snapshot) []byte
}{
	{"webhook", []string{"WEBHOOK_URL"}, (*alert.Alert).Webhook},
	{"slack", []string{"SLACK_WEBHOOK_URL", "ALERTING_WEBHOOK_URL"}, (*alert.Alert).Slack},
}

// openAlerts has budgets watched and alerts sent, beside the calls.
func (n *node) openAlerts(background context.Context, group *errgroup.Group) error {
	raised := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_soft_budget_alerts_total", Help: "Alerts that this node has raised of budgets, by event and level.",
	}, []string{"event", "scope"})
	n.metrics.MustRegister(raised)
	poster := alert.NewPoster(n.log, nil, 0)
	watcher, err := alert.New(alert.Config{
		Node: n.identity.NodeID, State: n.store, Uses: n.account.Uses, Clock: n.clock, Logger: n.log,
		Mutate: func(ctx context.Context, changes []model.Change) (bool, error) {
			r, err := n.cluster.Mutate(ctx, model.Mutation{By: "tollgate", Changes: changes})
			return r.Conflict == nil, err
		},
		Raised: func(s *state.Snapshot, a alert.Alert) {
			raised.WithLabelValues(string(a.Kind), a.Scope.Dim.String()).Inc()
			n.sendAlert(poster, s, &a)
		},
	})
	if err != nil {
		return err
	}
	group.Go(func() error { return watcher.Run(background) })
	group.Go(func() error { return poster.Run(background) })
	return nil
}

// sendAlert queues an alert for every way that the settings name. Addresses by
// kind of alert and the choice of kinds are Slack's alone, as in LiteLLM.
func (n *node) sendAlert(poster *alert.Poster, s *state.Snapshot, a *alert.Alert) {
	v := s.ActiveConfig()
	if v == nil || len(v.Config.General.Alerting) == 0 {
		return
	}
	opened, _ := n.box.OpenConfig(&v.Config) // what does not open was told of when the config came
	env := n.providerEnv()
	for _, w := range alertWays {
		if !contains(v.Config.General.Alerting, w.way) {
			continue
		}
		var urls []string
		if w.way == "slack" {
			if !alert.Wanted(opened.General.Raw["alert_types"]) {
				continue
			}
			urls = alert.Addresses(opened.General.Raw["alert_to_webhook_url"])
		}
		if urls == nil {
			urls = addressesOf(env, w.variables)
		}
		if urls == nil {
			n.log.Warn("alert not sent: set "+w.variables[0]+" on every node", "way", w.way)
			continue
		}
		for _, u := range urls {
			poster.Put(alert.Post{Way: w.way, URL: u, Body: w.body(a, s)})
		}
	}
}

// addressesOf reads the first variable that is set: addresses with commas
// between.
func addressesOf(env func(string) (string, bool), names []string) []string {
	for _, name := range names {
		list, _ := env(name)
		var urls []string
		for u := range strings.SplitSeq(list, ",") {
			if u = strings.TrimSpace(u); u != "" {
				urls = append(urls, u)
			}
		}
		if urls != nil {
			return urls
		}
	}
	return nil
}
