package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// ActivityFilter chooses what a daily activity page shows.
type ActivityFilter struct {
	From, To time.Time // UTC days, both included
	// Entity is ByUser, ByTeam, ByOrganization, ByEndUser or ByTag; 0 breaks
	// down by user.
	Entity   Dimension
	IDs      []string // restrict to these entities
	Model    string
	Key      string
	Page     int // from 1
	PageSize int // days a page; 0: 1000
}

// Activity is the body of /user/daily/activity and its like.
type Activity struct {
	Results  []ActivityDay `json:"results"`
	Metadata ActivityMeta  `json:"metadata"`
}

// ActivityDay is one day, newest first in a page.
type ActivityDay struct {
	Date      string    `json:"date"`
	Metrics   Metrics   `json:"metrics"`
	Breakdown Breakdown `json:"breakdown"`
}

// Breakdown is one day by everything that the pages show.
type Breakdown struct {
	MCPServers  Parts `json:"mcp_servers"`
	Models      Parts `json:"models"`
	ModelGroups Parts `json:"model_groups"`
	Providers   Parts `json:"providers"`
	Endpoints   Parts `json:"endpoints"`
	Keys        Parts `json:"api_keys"`
	Entities    Parts `json:"entities"`
}

// Parts are the parts of a day, by id.
type Parts map[string]*Part

// Part is one model, key, … of a day. Metadata is the caller's to fill (aliases
// live in the state, not in the ledger), except a key's team.
type Part struct {
	Metrics  Metrics           `json:"metrics"`
	Metadata map[string]string `json:"metadata"`
	Keys     Parts             `json:"api_key_breakdown,omitempty"`
}

// Metrics is LiteLLM's set of daily figures.
type Metrics struct {
	Spend      float64 `json:"spend"`
	Prompt     int64   `json:"prompt_tokens"`
	Completion int64   `json:"completion_tokens"`
	CacheRead  int64   `json:"cache_read_input_tokens"`
	CacheWrite int64   `json:"cache_creation_input_tokens"`
	Total      int64   `json:"total_tokens"`
	Successful int64   `json:"successful_requests"`
	Failed     int64   `json:"failed_requests"`
	Requests   int64   `json:"api_requests"`

	sums store.Sums
}

// add keeps the exact sum beside the dollars, so that the floats are made once
// and not added up.
func (m *Metrics) add(s store.Sums) {
	m.sums.Add(s)
	t := &m.sums
	m.Spend, m.Prompt, m.Completion = t.Spend.USD(), t.Prompt, t.Completion
	m.CacheRead, m.CacheWrite, m.Total = t.CacheRead, t.CacheWrite, t.Prompt+t.Completion
	m.Successful, m.Failed, m.Requests = t.Successful, t.Failed, t.Requests
}

// ActivityMeta sums the whole range, not the page.
type ActivityMeta struct {
	Spend      float64 `json:"total_spend"`
	Prompt     int64   `json:"total_prompt_tokens"`
	Completion int64   `json:"total_completion_tokens"`
	Total      int64   `json:"total_tokens"`
	Requests   int64   `json:"total_api_requests"`
	Successful int64   `json:"total_successful_requests"`
	Failed     int64   `json:"total_failed_requests"`
	CacheRead  int64   `json:"total_cache_read_input_tokens"`
	CacheWrite int64   `json:"total_cache_creation_input_tokens"`
	Page       int     `json:"page"`
	TotalPages int     `json:"total_pages"`
	HasMore    bool    `json:"has_more"`
}

// Activity breaks the days down.
func (q *Embedded) Activity(ctx context.Context, f ActivityFilter) (*Activity, error) {
	entity := cmp.Or(f.Entity, ByUser)
	a := newActivity()
	err := q.rollups(ctx, entity.family(), Range{From: f.From, To: f.To, Key: f.Key, Model: f.Model},
		func(k *store.RollupKey, s store.Sums) {
			id := entity.of(k)
			if len(f.IDs) > 0 && !slices.Contains(f.IDs, id) {
				return
			}
			a.add(k, id, s)
		})
	if err != nil {
		return nil, fmt.Errorf("daily activity: %w", err)
	}
	return a.page(f.Page, f.PageSize), nil
}

// maxPageSize is more days than rollups are kept.
const maxPageSize = 10_000

// activity gathers days before they are paged.
type activity struct {
	days  map[string]*ActivityDay
	total store.Sums
}

func newActivity() *activity { return &activity{days: map[string]*ActivityDay{}} }

func (a *activity) day(date string) *ActivityDay {
	d := a.days[date]
	if d == nil {
		d = &ActivityDay{Date: date, Breakdown: Breakdown{MCPServers: Parts{}, Models: Parts{}, ModelGroups: Parts{},
			Providers: Parts{}, Endpoints: Parts{}, Keys: Parts{}, Entities: Parts{}}}
		a.days[date] = d
	}
	return d
}

func (a *activity) add(k *store.RollupKey, entity string, s store.Sums) {
	d := a.day(k.Date())
	a.total.Add(s)
	d.Metrics.add(s)
	b := &d.Breakdown
	b.Models.add(k.Model, k.Key, s)
	b.ModelGroups.add(k.Group, k.Key, s)
	b.Providers.add(k.Provider, k.Key, s)
	b.Endpoints.add(endpoint(k.CallType), k.Key, s)
	b.Entities.add(entity, k.Key, s)
	b.Keys.add(k.Key, "", s)
	if p := b.Keys[k.Key]; p != nil && k.Team != "" {
		p.Metadata["team_id"] = k.Team
	}
}

// join adds a day that another book has made.
func (a *activity) join(from *ActivityDay) {
	d := a.day(from.Date)
	s := from.Metrics.exact()
	a.total.Add(s)
	d.Metrics.add(s)
	b, c := &d.Breakdown, &from.Breakdown
	b.MCPServers.join(c.MCPServers)
	b.Models.join(c.Models)
	b.ModelGroups.join(c.ModelGroups)
	b.Providers.join(c.Providers)
	b.Endpoints.join(c.Endpoints)
	b.Keys.join(c.Keys)
	b.Entities.join(c.Entities)
}

func (p Parts) join(from Parts) {
	for id, o := range from {
		part := p[id]
		if part == nil {
			part = &Part{Metadata: map[string]string{}}
			p[id] = part
		}
		part.Metrics.add(o.Metrics.exact())
		maps.Copy(part.Metadata, o.Metadata)
		if len(o.Keys) > 0 {
			if part.Keys == nil {
				part.Keys = Parts{}
			}
			part.Keys.join(o.Keys)
		}
	}
}

// exact is the figures as sums. Metrics that came over the network have only
// the dollars, which hold nano-dollars exactly up to some millions.
func (m *Metrics) exact() store.Sums {
	spend, err := unit.MoneyFromUSD(m.Spend)
	if err != nil {
		spend = unit.MaxMoney
	}
	return store.Sums{Spend: spend, Prompt: m.Prompt, Completion: m.Completion, CacheRead: m.CacheRead,
		CacheWrite: m.CacheWrite, Successful: m.Successful, Failed: m.Failed, Requests: m.Requests}
}

func (p Parts) add(id, key string, s store.Sums) {
	if id == "" {
		return
	}
	part := p[id]
	if part == nil {
		part = &Part{Metadata: map[string]string{}}
		p[id] = part
	}
	part.Metrics.add(s)
	if key == "" {
		return
	}
	if part.Keys == nil {
		part.Keys = Parts{}
	}
	part.Keys.add(key, "", s)
}

// endpoint is the route that a call type came in by.
func endpoint(callType string) string {
	switch callType {
	case "acompletion":
		return "/chat/completions"
	case "atext_completion":
		return "/completions"
	case "aembedding":
		return "/embeddings"
	case "anthropic_messages":
		return "/v1/messages"
	}
	return callType
}

func (a *activity) page(page, size int) *Activity {
	days := make([]ActivityDay, 0, len(a.days))
	for _, d := range a.days {
		days = append(days, *d)
	}
	slices.SortFunc(days, func(x, y ActivityDay) int { return cmp.Compare(y.Date, x.Date) })
	if size <= 0 {
		size = 1000
	}
	size = min(size, maxPageSize)
	pages := max(1, (len(days)+size-1)/size)
	page = min(max(page, 1), pages+1) // beyond the last one: empty
	from := min((page-1)*size, len(days))
	t := &a.total
	return &Activity{
		Results: days[from:min(from+size, len(days))],
		Metadata: ActivityMeta{
			Spend: t.Spend.USD(), Prompt: t.Prompt, Completion: t.Completion, Total: t.Prompt + t.Completion,
			Requests: t.Requests, Successful: t.Successful, Failed: t.Failed, CacheRead: t.CacheRead, CacheWrite: t.CacheWrite,
			Page: page, TotalPages: pages, HasMore: page < pages,
		},
	}
}
