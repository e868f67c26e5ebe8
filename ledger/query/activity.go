package query

import (
	"cmp"
	"slices"
	"time"

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

// Part is one model, key, … of a day. Metadata is the caller's to fill: aliases
// and teams live in the state, not in the books.
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

// maxPageSize is more days than ledgers keep.
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

func (a *activity) add(g *Group) {
	date, entity, key, s := g.IDs[0], g.IDs[1], g.IDs[2], g.Sums
	d := a.day(date)
	a.total.Add(s)
	d.Metrics.add(s)
	b := &d.Breakdown
	b.Models.add(g.IDs[3], key, s)
	b.ModelGroups.add(g.IDs[4], key, s)
	b.Providers.add(g.IDs[5], key, s)
	b.Endpoints.add(g.IDs[6], key, s)
	b.Entities.add(entity, key, s)
	b.Keys.add(key, "", s)
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
