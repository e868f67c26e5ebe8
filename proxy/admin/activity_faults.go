package admin

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tollgate/ledger/query"
	"tollgate/proxy/refusal"
)

// globalCacheHits answers how many calls were served from the cache, by key,
// kind of call and model.
func globalCacheHits(c *call) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	groups, err := c.a.Spend.Groups(c.reading(), []query.Dimension{query.ByKey, query.ByCallType, query.ByModel},
		c.own(query.Range{From: from, To: to}))
	if r := c.unread(err); r != nil {
		return r
	}
	type row struct {
		Key       string `json:"api_key"` // its alias
		CallType  string `json:"call_type"`
		Model     string `json:"model"`
		Total     int64  `json:"total_rows"`
		Hits      int64  `json:"cache_hit_true_rows"`
		Cached    int64  `json:"cached_completion_tokens"`
		Generated int64  `json:"generated_completion_tokens"`
	}
	rows := make([]row, 0, len(groups))
	for _, g := range groups {
		shown := "Unnamed Key"
		if alias, _ := c.keyName(g.IDs[0]); alias != nil {
			shown = *alias
		}
		// The books count hits, not their tokens: those are taken as average.
		cached := int64(0)
		if g.Requests > 0 {
			cached = int64(float64(g.Completion) * float64(g.CacheHits) / float64(g.Requests))
		}
		rows = append(rows, row{shown, g.IDs[1], g.IDs[2], g.Requests, g.CacheHits, cached, g.Completion - cached})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Key, b.Key), cmp.Compare(a.CallType, b.CallType), cmp.Compare(a.Model, b.Model))
	})
	return c.ok(rows)
}

// exceptionDay is how often providers refused calls for their number in one day.
type exceptionDay struct {
	Date  string `json:"date"` // "Jan 22"
	Count int64  `json:"num_rate_limit_exceptions"`
}

type exceptions struct {
	Daily []exceptionDay `json:"daily_data"`
	Sum   int64          `json:"sum_num_rate_limit_exceptions"`
}

func exceptionsOf(days map[string]int64) exceptions {
	out := exceptions{Daily: []exceptionDay{}}
	for _, date := range slices.Sorted(maps.Keys(days)) {
		t, _ := time.Parse(time.DateOnly, date)
		out.Daily = append(out.Daily, exceptionDay{t.Format("Jan 02"), days[date]})
		out.Sum += days[date]
	}
	return out
}

// maxExceptionPages bounds the failures that one answer counts.
const maxExceptionPages = 200

// eachException walks the failures with status 429 of one model group.
func (c *call) eachException(fn func(r *query.Row, date string)) *refusal.Refusal {
	from, to, wrong := c.days(true)
	if wrong != nil {
		return wrong
	}
	q := &form{where: "query"}
	q.require("model_group", c.query("model_group") != "")
	if q.wrong() {
		return c.refuseForm(q)
	}
	f := c.logFilter(from, to.AddDate(0, 0, 1))
	f.Model, f.Status, f.ErrorCode, f.Limit = c.query("model_group"), "failure", "429", 1000
	for range maxExceptionPages {
		page, err := c.a.Spend.Logs(c.reading(), f)
		if r := c.unread(err); r != nil {
			return r
		}
		for i := range page.Rows {
			if r := &page.Rows[i]; r.ModelGroup == f.Model {
				fn(r, r.StartTime.UTC().Format(time.DateOnly))
			}
		}
		if page.Next == "" {
			return nil
		}
		f.Cursor = page.Next
	}
	return badRequest("start_date", "There is more than one answer can count: choose fewer days.")
}

func globalExceptions(c *call) *refusal.Refusal {
	days := map[string]int64{}
	if r := c.eachException(func(_ *query.Row, date string) { days[date]++ }); r != nil {
		return r
	}
	return c.ok(exceptionsOf(days))
}

func globalDeploymentExceptions(c *call) *refusal.Refusal {
	bases := map[string]map[string]int64{}
	r := c.eachException(func(r *query.Row, date string) {
		if bases[r.APIBase] == nil {
			bases[r.APIBase] = map[string]int64{}
		}
		bases[r.APIBase][date]++
	})
	if r != nil {
		return r
	}
	type row struct {
		Base string `json:"api_base"`
		exceptions
	}
	rows := []row{}
	for base, days := range bases {
		rows = append(rows, row{base, exceptionsOf(days)})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Base, b.Base)) })
	return c.ok(rows[:min(len(rows), 10)])
}
