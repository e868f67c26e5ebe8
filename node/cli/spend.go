package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// spendBy are the ways to sum spend, with the route and columns of each; part
// is the field of the answer that holds the rows.
var spendBy = map[string]struct {
	path    string
	part    string
	columns []string
}{
	"total": {"/global/spend", "", []string{"spend", "max_budget"}},
	"key":   {"/spend/keys", "", []string{"key_alias", "key_name", "spend", "max_budget", "token"}},
	"user":  {"/spend/users", "", []string{"user_id", "spend", "max_budget"}},
	"team":  {"/global/spend/teams", "total_spend_per_team", []string{"team_id", "total_spend"}},
	"tag":   {"/spend/tags", "", []string{"individual_request_tag", "log_count", "total_spend"}},
	"model": {"/global/spend/models", "", []string{"model", "total_spend"}},
	"day":   {"/global/spend/logs", "", []string{"date", "spend"}},
}

// spendOptions say what of the spend is shown.
type spendOptions struct{ by, key, request, since, until string }

func newSpend() *cobra.Command {
	var o spendOptions
	cmd := &cobra.Command{
		Use:     "spend",
		Short:   "Show what was spent, in all or by key, user, team, tag, model or day",
		Example: "  tollgate spend --by key\n  tollgate spend --by team --since 30d\n  tollgate spend --request chatcmpl-123",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			way, ok := spendBy[o.by]
			query := url.Values{}
			switch {
			case o.request != "":
				way.path, way.columns, way.part = "/spend/logs", nil, ""
				query.Set("request_id", o.request)
			case o.key != "":
				way.path, way.columns, way.part = "/spend/logs", []string{"startTime", "model", "total_tokens", "spend", "status", "request_id"}, ""
				query.Set("api_key", o.key)
				query.Set("summarize", "false")
			case !ok:
				return fmt.Errorf("--by %q: want total, key, user, team, tag, model or day", o.by)
			case o.since != "" || o.until != "":
				return c.spendOf(&o, time.Now(), cmd)
			}
			v, err := c.spend(way.path, query, cmd)
			if err != nil {
				return err
			}
			if m, ok := v.(map[string]any); ok && way.part != "" && c.output != "json" {
				v = m[way.part]
			}
			return c.show(v, way.columns)
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.by, "by", "total", "total, key, user, team, tag, model or day")
	f.StringVar(&o.key, "key", "", "the calls of one `KEY` (or its hash)")
	f.StringVar(&o.request, "request", "", "one call by its request `ID`")
	f.StringVar(&o.since, "since", "", "first `DAY`: a date or how long ago, such as 30d (default: what each sum covers)")
	f.StringVar(&o.until, "until", "", "last `DAY` (default: today)")
	return cmd
}

// spend asks, and says on standard error what the answer lacks.
func (c *client) spend(path string, query url.Values, cmd *cobra.Command) (any, error) {
	res, err := c.open(http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	for _, w := range warnings(res.Header) {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
	}
	dec := json.NewDecoder(res.Body)
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read the answer of %s%s: %w", c.addr, path, err)
	}
	return v, nil
}

// spendRow is one sum over a stretch of days.
type spendRow struct {
	ID       string
	Spend    float64
	Requests int64
	Tokens   int64
}

// spendOf sums the days from --since to --until.
func (c *client) spendOf(o *spendOptions, now time.Time, cmd *cobra.Command) error {
	since, err := moment("since", o.since, now)
	if err != nil {
		return err
	}
	until, err := moment("until", o.until, now)
	if err != nil {
		return err
	}
	if o.since == "" {
		since = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.until == "" {
		until = now.UTC()
	}
	query := url.Values{"start_date": {since.Format(time.DateOnly)}, "end_date": {until.Format(time.DateOnly)}}
	entity := "user"
	if o.by == "team" || o.by == "tag" {
		entity = o.by
	}
	v, err := c.spend("/"+entity+"/daily/activity/aggregated", query, cmd)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	rows, err := sumDays(raw, o.by)
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = map[string]any{o.by: r.ID, "spend": json.Number(strconv.FormatFloat(r.Spend, 'f', -1, 64)), "requests": r.Requests, "tokens": r.Tokens}
	}
	return c.show(out, []string{o.by, "spend", "requests", "tokens"})
}

// sumDays adds up an activity by key, user, …; the dearest first, days in order.
func sumDays(raw []byte, by string) ([]spendRow, error) {
	type figures struct {
		Spend    float64 `json:"spend"`
		Requests int64   `json:"api_requests"`
		Tokens   int64   `json:"total_tokens"`
	}
	type parts map[string]struct {
		Metrics figures `json:"metrics"`
	}
	var a struct {
		Results []struct {
			Date      string           `json:"date"`
			Metrics   figures          `json:"metrics"`
			Breakdown map[string]parts `json:"breakdown"`
		} `json:"results"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	part := map[string]string{"key": "api_keys", "model": "models"}[by]
	if part == "" {
		part = "entities"
	}
	sums := map[string]*spendRow{}
	add := func(id string, m figures) {
		r := sums[id]
		if r == nil {
			r = &spendRow{ID: id}
			sums[id] = r
		}
		r.Spend, r.Requests, r.Tokens = r.Spend+m.Spend, r.Requests+m.Requests, r.Tokens+m.Tokens
	}
	for _, d := range a.Results {
		switch by {
		case "day":
			add(d.Date, d.Metrics)
		case "total":
			add("all", d.Metrics)
		default:
			for id, p := range d.Breakdown[part] {
				add(id, p.Metrics)
			}
		}
	}
	rows := make([]spendRow, 0, len(sums))
	for _, r := range sums {
		// Nano-dollars are exact; what adding floats leaves beyond them is noise.
		r.Spend, _ = strconv.ParseFloat(strconv.FormatFloat(r.Spend, 'f', 9, 64), 64)
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b spendRow) int {
		if by == "day" {
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Or(cmp.Compare(b.Spend, a.Spend), cmp.Compare(a.ID, b.ID))
	})
	return rows, nil
}
