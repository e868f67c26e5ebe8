package call

import (
	"context"
	"sort"
	"strings"
	"sync"
	"time"

	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

// probesAtOnce bounds how many deployments are asked at the same time.
const probesAtOnce = 8

// Probe asks every deployment (or those of one model or id) for a word, as
// LiteLLM's /health does, and reports which answered. It is not billed to any
// caller and takes no one's limits.
func (h *Handler) Probe(ctx context.Context, snap *state.Snapshot, group, id string) map[string]any {
	type result struct {
		d   *state.Deployment
		err string
	}
	var todo []*state.Deployment
	for _, d := range snap.Routing.ByID {
		if (group == "" || d.Group == group) && (id == "" || d.ID == id) && !d.Wildcard && !strings.Contains(d.Group, "*") {
			todo = append(todo, d)
		}
	}
	sort.Slice(todo, func(i, j int) bool { return todo[i].ID < todo[j].ID })
	results := make([]result, len(todo))
	slots := make(chan struct{}, probesAtOnce)
	var wg sync.WaitGroup
	for i, d := range todo {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = result{d, h.probeOne(ctx, d)}
		})
	}
	wg.Wait()
	healthy, unhealthy := []map[string]any{}, []map[string]any{}
	for _, r := range results {
		entry := map[string]any{"model": r.d.FullModel, "model_name": r.d.Group, "model_id": r.d.ID, "api_base": r.d.APIBase, "custom_llm_provider": r.d.Provider}
		if r.err == "" {
			healthy = append(healthy, entry)
			continue
		}
		entry["error"] = r.err
		unhealthy = append(unhealthy, entry)
	}
	return map[string]any{"healthy_endpoints": healthy, "unhealthy_endpoints": unhealthy,
		"healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
}

// probeBody is the smallest call of each operation.
func probeBody(mode string) (provider.Op, string) {
	if mode == "embedding" {
		return provider.OpEmbedding, `{"model":"probe","input":"test from tollgate"}`
	}
	return provider.OpChat, `{"model":"probe","messages":[{"role":"user","content":"test from tollgate"}],"max_tokens":16}`
}

func (h *Handler) probeOne(ctx context.Context, d *state.Deployment) string {
	switch {
	case d.MockResponse != nil:
		return ""
	case d.Problem != "":
		return d.Problem
	}
	op, text := probeBody(d.Mode)
	p, ok := h.Providers(d.Provider, op)
	if !ok {
		return "provider " + d.Provider + " does not serve mode " + d.Mode
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
	x, err := h.Upstream.Start(req, upstream.Options{Deadline: earliest(limit, time.Now().Add(30*time.Second))}, nil)
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
