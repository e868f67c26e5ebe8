package call

import (
	"context"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

const (
	// probesAtOnce bounds how many deployments are asked at the same time.
	probesAtOnce = 8
	// probeWithin is how long one has when its model_info does not say.
	probeWithin = time.Minute
)

// Probed is how one deployment answered when it was asked for a word.
type Probed struct {
	ID       string        `json:"model_id"`
	Group    string        `json:"model_name"`
	Model    string        `json:"model"`
	Base     string        `json:"api_base"`
	Provider string        `json:"custom_llm_provider"`
	Mode     string        `json:"mode"`
	Fault    string        `json:"error,omitempty"` // "": it answered
	At       time.Time     `json:"checked_at"`
	Took     time.Duration `json:"took"`
}

// Probe asks the deployments that are wanted for a word, each in its own mode,
// and tells which answered, in the order of their ids. It is not billed to any
// caller and takes no one's limits. Wildcards are asked where their model_info
// names a health_check_model, for they have none of their own.
func (h *Handler) Probe(ctx context.Context, snap *state.Snapshot, wanted func(*state.Deployment) bool) []Probed {
	var todo []*state.Deployment
	for _, d := range snap.Routing.ByID {
		if !wanted(d) {
			continue
		}
		if p := probedAs(snap.Routing, d); p != nil {
			todo = append(todo, p)
		}
	}
	sort.Slice(todo, func(i, j int) bool { return todo[i].ID < todo[j].ID })
	out := make([]Probed, len(todo))
	slots := make(chan struct{}, probesAtOnce)
	var wg sync.WaitGroup
	for i, d := range todo {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			at := h.Clock.Now()
			out[i] = Probed{ID: d.ID, Group: d.Group, Model: d.FullModel, Base: d.APIBase, Provider: d.Provider, Mode: probeMode(d), At: at, Fault: h.probeOne(ctx, d)}
			out[i].Took = h.Clock.Now().Sub(at)
		})
	}
	wg.Wait()
	return out
}

// ProbeReport is how LiteLLM's /health tells it. Without details an entry names
// its model and what is wrong.
func ProbeReport(list []Probed, details bool) map[string]any {
	healthy, unhealthy := []map[string]any{}, []map[string]any{}
	for i := range list {
		p := &list[i]
		entry := map[string]any{"model": p.Model}
		if details {
			entry = map[string]any{"model": p.Model, "model_name": p.Group, "model_id": p.ID, "api_base": p.Base, "custom_llm_provider": p.Provider,
				"mode": p.Mode, "response_time_ms": float64(p.Took.Microseconds()) / 1000, "checked_at": p.At.UTC().Format(time.RFC3339Nano)}
		}
		if p.Fault == "" {
			healthy = append(healthy, entry)
			continue
		}
		entry["error"] = p.Fault
		unhealthy = append(unhealthy, entry)
	}
	return map[string]any{"healthy_endpoints": healthy, "unhealthy_endpoints": unhealthy,
		"healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
}

// infoText is a string of model_info.
func infoText(info model.Params, name string) string {
	var s string
	if json.Unmarshal(info[name], &s) != nil {
		return ""
	}
	return s
}

// probedAs is the deployment with the model that its checks call; nil: a
// wildcard that names none.
func probedAs(r *state.Routing, d *state.Deployment) *state.Deployment {
	name := infoText(d.Info, "health_check_model")
	if d.Wildcard || strings.Contains(d.Group, "*") {
		if name == "" {
			return nil
		}
		for _, as := range []string{name, strings.Replace(d.Group, "*", name, 1)} {
			target, ok := r.Resolve(as)
			if !ok {
				continue
			}
			for _, c := range target.Deployments() {
				if c.Deployment.ID == d.ID {
					return c.Deployment
				}
			}
		}
		return nil
	}
	if name == "" {
		return d
	}
	other := *d
	other.Model = strings.TrimPrefix(name, d.Provider+"/")
	other.FullModel = d.Provider + "/" + other.Model
	return &other
}

// probeTime is how long a deployment may take, by its health_check_timeout.
func probeTime(d *state.Deployment) time.Duration {
	secs, err := strconv.ParseFloat(strings.Trim(string(d.Info["health_check_timeout"]), `"`), 64)
	if err != nil || secs <= 0 || secs > 3600 {
		return probeWithin
	}
	return time.Duration(secs * float64(time.Second))
}

func probeMode(d *state.Deployment) string {
	if d.Mode == "" {
		return "chat"
	}
	return d.Mode
}

// probeBody is the smallest call of each mode; ok is false for those that this
// release cannot call.
func probeBody(mode string) (op provider.Op, body string, ok bool) {
	switch mode {
	case "chat", "responses": // models of the newer interface answer the older one too
		return provider.OpChat, `{"model":"probe","messages":[{"role":"user","content":"test from tollgate"}],"max_tokens":16}`, true
	case "completion":
		return provider.OpCompletion, `{"model":"probe","prompt":"test from tollgate","max_tokens":16}`, true
	case "embedding":
		return provider.OpEmbedding, `{"model":"probe","input":"test from tollgate"}`, true
	}
	return provider.OpChat, "", false
}

func (h *Handler) probeOne(ctx context.Context, d *state.Deployment) string {
	switch {
	case d.MockResponse != nil:
		return ""
	case d.Problem != "":
		return d.Problem
	}
	op, text, ok := probeBody(probeMode(d))
	if !ok {
		return "models of mode " + d.Mode + " cannot be called in this release, so it was not asked"
	}
	p, ok := h.Providers(d.Provider, op)
	if !ok {
		return "provider " + d.Provider + " does not serve mode " + probeMode(d)
	}
	var fields jsonscan.Object
	if err := fields.Parse([]byte(text)); err != nil {
		return err.Error()
	}
	pc := provider.Call{Op: op, Body: []byte(text), Fields: &fields, Deployment: d, Model: d.Model, PublicName: d.Group,
		DropParams: true, Header: func(string) string { return "" }, Now: h.Clock.Now(), CallID: "probe"}
	req, err := p.Request(&pc)
	if err != nil {
		return err.Error()
	}
	limit, _ := ctx.Deadline()
	x, err := h.Upstream.Start(req, upstream.Options{Deadline: earliest(limit, time.Now().Add(probeTime(d)))}, nil)
	if err != nil {
		return err.Error()
	}
	defer x.Close()
	body, err := x.ReadAll(nil, 1<<20)
	if err != nil {
		return err.Error()
	}
	if x.Status() >= 300 {
		return p.Error(&pc, x.Status(), x.Header, body).Error()
	}
	if _, err := p.Answer(&pc, x.Header, body); err != nil {
		return err.Error()
	}
	return ""
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
