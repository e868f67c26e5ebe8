package admin_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
	"tollgate/ledger/verify"
	"tollgate/proxy/admin"
)

func TestPagesOfCallsCountAllOfThem(t *testing.T) {
	w, alice, _, keys := spendWorld(t)
	for _, path := range []string{"/spend/logs/ui", "/spend/logs/v2"} {
		p := w.get(path + "?start_date=2026-01-13%2000:00:00&end_date=2026-01-14%2010:00:03&page=2&page_size=2").ok()
		require.Equal(t, 3.0, p["total"], "the end itself counts, what comes after it does not")
		require.Equal(t, 2.0, p["page"])
		require.Equal(t, 2.0, p["page_size"])
		require.Equal(t, 2.0, p["total_pages"])
		require.Len(t, p["data"], 1)
		require.Equal(t, keys["alice"], p["data"].([]any)[0].(map[string]any)["api_key"])
	}
	require.Equal(t, 4.0, w.get("/spend/logs/ui?start_date=2026-01-13&end_date=2026-01-14").ok()["total"], "a plain date ends with its day")
	require.Equal(t, 1.0, w.get("/spend/logs/ui?min_spend=3").ok()["total"])
	require.Equal(t, 2.0, w.get("/spend/logs/ui?max_spend=1").ok()["total"])
	require.Equal(t, []string{"min_spend:float_parsing"}, w.get("/spend/logs/ui?min_spend=x").wrong())
	require.Equal(t, 0.0, w.get("/spend/logs/ui?status_filter=failure").ok()["total"])
	require.Equal(t, []any{}, w.get("/spend/logs/ui?page=9").ok()["data"])
	w.get("/spend/logs/ui?page=9000000").refused(400)
	require.Equal(t, 2.0, w.call(alice, "GET", "/spend/logs/ui?user_id=bob", "").ok()["total"], "forced to its own")
	w.get("/spend/logs?cursor=%3F").refused(400)
}

func TestCallsOfASessionAndTheirBodies(t *testing.T) {
	w := newWorld(t, nil)
	at := time.Date(2026, 1, 14, 10, 0, 0, 0, time.UTC)
	for n := range byte(3) {
		_, err := w.ledger.Settle(store.Ref{}, &store.Entry{CallID: store.CallID{n + 1}, RequestID: fmt.Sprintf("chatcmpl-%d", n), Status: store.Success, CallType: "acompletion",
			Start: at, End: at, Session: []string{"one", "two"}[n%2], Messages: []byte(`[{"role":"user"}]`), Response: []byte(`{"id":"r"}`), Cost: price.Cost{Priced: true}})
		require.NoError(t, err)
	}
	p := w.get("/spend/logs/session/ui?session_id=one").ok()
	require.Equal(t, 2.0, p["total"])
	require.Equal(t, []string{"session_id:missing"}, w.get("/spend/logs/session/ui").wrong())
	one := w.get("/spend/logs/ui/chatcmpl-1").ok()
	require.Equal(t, map[string]any{"id": "r"}, one["response"])
	require.Equal(t, []any{map[string]any{"role": "user"}}, one["messages"])
	require.Equal(t, map[string]any{}, one["proxy_server_request"])
	require.Equal(t, "null", string(w.get("/spend/logs/ui/none").body))
	alice := w.as("internal_user", "alice")
	require.Equal(t, "null", string(w.call(alice, "GET", "/spend/logs/ui/chatcmpl-1", "").body), "another's call is not there")
}

func TestReportsByTeamCustomerAndKey(t *testing.T) {
	w, alice, bob, keys := spendWorld(t)
	const span = "?start_date=2026-01-13&end_date=2026-01-14"
	use := func(model, key string, spend, tokens float64) map[string]any {
		return map[string]any{"model": "openai/" + model, "api_key": key, "spend": spend, "total_tokens": tokens}
	}
	require.Equal(t, []any{
		map[string]any{"group_by_day": "2026-01-13T00:00:00+00:00", "teams": []any{
			map[string]any{"team_name": "Core", "total_spend": 2.0, "metadata": []any{use("gpt-4o", keys["alice"], 2, 15)}}}},
		map[string]any{"group_by_day": "2026-01-14T00:00:00+00:00", "teams": []any{
			map[string]any{"team_name": "Unassigned Team", "total_spend": 4.5, "metadata": []any{use("gpt-4o", keys["bob"], 4, 15), use("gpt-4o", "litellm_proxy_master_key", 0.5, 15)}},
			map[string]any{"team_name": "Core", "total_spend": 1.0, "metadata": []any{use("gpt-4o-mini", keys["alice"], 1, 15)}}}},
	}, w.get("/global/spend/report"+span).list())
	byCustomer := w.get("/global/spend/report" + span + "&group_by=customer").list()
	first := byCustomer[0].(map[string]any)["customers"].([]any)[0].(map[string]any)
	require.Equal(t, "customer", first["customer"])
	require.Equal(t, 2.0, first["total_spend"])
	byKey := w.get("/global/spend/report" + span + "&group_by=api_key").list()
	require.Equal(t, map[string]any{"api_key": keys["bob"], "total_cost": 4.0, "total_input_tokens": 10.0, "total_output_tokens": 5.0, "model_details": []any{
		map[string]any{"model": "openai/gpt-4o", "total_cost": 4.0, "total_input_tokens": 10.0, "total_output_tokens": 5.0}}}, byKey[0])
	require.Len(t, byKey, 3)
	one := w.get("/global/spend/report" + span + "&api_key=" + alice).list()
	require.Len(t, one, 1)
	require.Len(t, one[0].(map[string]any)["model_details"], 2)
	require.Len(t, w.get("/global/spend/report"+span+"&internal_user_id=bob").list(), 1)
	both := w.get("/global/spend/report" + span + "&team_id=t&customer_id=customer").list()
	require.Len(t, both, 2)
	require.Equal(t, "Core", both[0].(map[string]any)["teams_customers"].([]any)[0].(map[string]any)["team_name"])
	require.Len(t, w.get("/global/spend/report"+span+"&team_id=t").list(), 2)

	w.call(bob, "GET", "/global/spend/report"+span, "").refused(403)
	require.Equal(t, keys["bob"], w.call(bob, "GET", "/global/spend/report"+span+"&internal_user_id=alice", "").list()[0].(map[string]any)["api_key"], "forced to its own")
	require.Equal(t, []string{"group_by:literal_error"}, w.get("/global/spend/report"+span+"&group_by=x").wrong())
	require.Equal(t, []string{"end_date:missing", "start_date:missing"}, w.get("/global/spend/report").wrong())
}

func TestCacheHitsAndExceptions(t *testing.T) {
	w, _, _, keys := spendWorld(t)
	at := time.Date(2026, 1, 14, 11, 0, 0, 0, time.UTC)
	for n, code := range []string{"429", "429", "500"} {
		_, err := w.ledger.Settle(store.Ref{}, &store.Entry{CallID: store.CallID{9, byte(n)}, Status: store.Failure, CallType: "acompletion", Start: at, End: at,
			Key: keys["bob"], Group: "gpt-4o", Model: "openai/gpt-4o", APIBase: "https://a", ErrorCode: code})
		require.NoError(t, err)
	}
	const span = "?start_date=2026-01-01&end_date=2026-01-31"
	require.Equal(t, map[string]any{"daily_data": []any{map[string]any{"date": "Jan 14", "num_rate_limit_exceptions": 2.0}}, "sum_num_rate_limit_exceptions": 2.0},
		w.get("/global/activity/exceptions"+span+"&model_group=gpt-4o").ok())
	require.Equal(t, []any{map[string]any{"api_base": "https://a", "daily_data": []any{map[string]any{"date": "Jan 14", "num_rate_limit_exceptions": 2.0}},
		"sum_num_rate_limit_exceptions": 2.0}}, w.get("/global/activity/exceptions/deployment"+span+"&model_group=gpt-4o").list())
	require.Equal(t, []string{"model_group:missing"}, w.get("/global/activity/exceptions"+span).wrong())
	hits := w.get("/global/activity/cache_hits" + span).list()
	require.Contains(t, hits, map[string]any{"api_key": "litellm_proxy_master_key", "call_type": "acompletion", "model": "openai/gpt-4o",
		"total_rows": 1.0, "cache_hit_true_rows": 0.0, "cached_completion_tokens": 0.0, "generated_completion_tokens": 5.0})
}

func TestAggregatedActivityHasNoPages(t *testing.T) {
	w, _, _, _ := spendWorld(t)
	for _, of := range []string{"user", "team", "tag", "organization", "customer"} {
		a := w.get("/" + of + "/daily/activity/aggregated?start_date=2026-01-01&end_date=2026-01-31&page_size=x").ok()
		require.Equal(t, false, a["metadata"].(map[string]any)["has_more"])
	}
	team := w.get("/team/daily/activity/aggregated?start_date=2026-01-01&end_date=2026-01-31").ok()
	require.Equal(t, 3.0, team["metadata"].(map[string]any)["total_spend"], "calls of no team are in no team's activity")
}

func TestProvidersBudgetsAreShown(t *testing.T) {
	w := newWorld(t, &model.Config{Router: model.RouterSettings{ProviderBudgets: map[string]model.ModelBudget{"openai": {Max: 10 * unit.Dollar, Duration: "1d"}}}})
	w.setSpent(model.Scope{Dim: model.DimProvider, ID: "openai"}, 3*unit.Dollar)
	p := w.get("/provider/budgets").ok()["providers"].(map[string]any)["openai"].(map[string]any)
	require.Equal(t, 10.0, p["budget_limit"])
	require.Equal(t, "1d", p["time_period"])
	require.Equal(t, 3.0, p["spend"])
	require.NotNil(t, p["budget_reset_at"])
	w.call(w.as("internal_user", "u"), "GET", "/provider/budgets", "").refused(403)
}

// partly is a query of which something is missing, after so many answers.
type partly struct {
	query.Query
	lacks error
	after int
}

func (p *partly) hidden() error {
	if p.after--; p.after >= 0 {
		return nil
	}
	return p.lacks
}

func (p *partly) Groups(ctx context.Context, by []query.Dimension, r query.Range) ([]query.Group, error) {
	g, err := p.Query.Groups(ctx, by, r)
	return g, errors.Join(err, p.hidden())
}

func (p *partly) Sums(ctx context.Context, by query.Dimension, r query.Range) ([]query.Sum, error) {
	s, err := p.Query.Sums(ctx, by, r)
	return s, errors.Join(err, p.hidden())
}

func (p *partly) Logs(ctx context.Context, f query.Filter) (query.Page, error) {
	page, err := p.Query.Logs(ctx, f)
	return page, errors.Join(err, p.hidden())
}

// over replaces what the world's spend is read from.
func (w *world) over(q query.Query) {
	d := w.a.Deps
	d.Spend = books{q, w}
	a, err := admin.New(d)
	require.NoError(w.t, err)
	w.a = a
}

func TestAnswersThatLackSomethingSaySo(t *testing.T) {
	w, _, _, _ := spendWorld(t)
	w.over(&partly{Query: query.NewEmbedded(w.ledger, nil), lacks: &query.PartialError{Missing: []string{"n3", "n2"}, Copies: []string{"n4"}, Instead: true, Err: errors.New("x")}})
	a := w.get("/spend/tags")
	require.Len(t, a.list(), 2)
	require.Equal(t, "n2,n3", a.header["x-spend-without"])
	require.Equal(t, "n4", a.header["x-spend-from-copy"])
	require.Equal(t, "ledger", a.header["x-spend-source"])
	a = w.get("/global/spend/report?start_date=2026-01-13&end_date=2026-01-14")
	require.Len(t, a.list(), 2)
	require.Equal(t, "n2,n3", a.header["x-spend-without"], "once, however often the books were asked")
	w.over(&partly{Query: query.NewEmbedded(w.ledger, nil), lacks: errors.New("away")})
	w.get("/spend/tags").refused(503)
	w.get("/spend/logs").refused(503)
}

func TestExportIsWholeInEitherFormat(t *testing.T) {
	w := newWorld(t, nil)
	const calls = 2500
	for n := range calls {
		at := time.Date(2026, 1, 14, 0, 0, n, 0, time.UTC)
		_, err := w.ledger.Settle(store.Ref{}, &store.Entry{CallID: store.CallID{1, byte(n >> 8), byte(n)}, Status: store.Success, CallType: "acompletion", Start: at, End: at,
			Key: []string{"a", "b"}[n%2], EndUser: "Jo \"the, comma\"\nEnd", Cost: price.Cost{Total: 1_000_000, Priced: true}})
		require.NoError(t, err)
	}
	a := w.get("/spend/logs/export?format=jsonl")
	require.Equal(t, 200, a.status)
	require.Equal(t, "2500", a.header["x-total-rows"])
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	require.Len(t, lines, calls)
	seen := map[string]bool{}
	for _, l := range lines {
		var row query.Row
		require.NoError(t, json.Unmarshal([]byte(l), &row))
		seen[row.RequestID] = true
	}
	require.Len(t, seen, calls)

	a = w.get("/spend/logs/export?format=csv&api_key=b&start_date=2026-01-14&end_date=2026-01-14")
	require.Contains(t, a.header["content-type"], "text/csv")
	require.Contains(t, a.header["content-disposition"], ".csv")
	records, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, calls/2+1)
	require.Equal(t, "request_id", records[0][0])
	at := map[string]int{}
	for i, c := range records[0] {
		at[c] = i
	}
	require.Equal(t, "0.001", records[1][at["spend"]])
	require.Equal(t, "Jo \"the, comma\"\nEnd", records[1][at["end_user"]])
	require.Equal(t, []string{"format:literal_error"}, w.get("/spend/logs/export?format=xml").wrong())
	records, err = csv.NewReader(strings.NewReader(string(w.get("/spend/logs/export?format=csv&api_key=none").body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, 1, "the heads alone")

	// A node that goes away in the middle must not make a short file look whole.
	w.over(&partly{Query: query.NewEmbedded(w.ledger, nil), lacks: &query.PartialError{Missing: []string{"n2"}}, after: 1})
	require.Error(t, w.broken("/spend/logs/export"))
}

// broken asks for an answer that is cut off, and gives the error.
func (w *world) broken(path string) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://node" + path)
	req.Header.Set("Authorization", "Bearer "+master)
	w.client.MaxIdemponentCallAttempts = 1 // a second attempt would begin with what the first was cut at
	return w.client.Do(req, resp)
}

func TestBooksAreRecountedForAdminsOnceAtATime(t *testing.T) {
	w, alice, _, _ := spendWorld(t)
	w.get("/spend/verify").refused(501)
	w.over(query.NewEmbedded(w.ledger, nil))
	counting, goOn := make(chan struct{}), make(chan struct{})
	w.a.Verify = func(ctx context.Context) (*verify.Report, error) {
		close(counting)
		<-goOn
		return verify.All(ctx, verify.Books{Ledger: w.ledger}, nil)
	}
	w.call(alice, "GET", "/spend/verify", "").refused(403)
	first := make(chan *answer)
	go func() { first <- w.get("/spend/verify") }()
	<-counting
	w.get("/spend/verify").refused(409)
	close(goOn)
	r := (<-first).ok()
	require.Equal(t, true, r["ok"])
	require.Len(t, r["checks"], 4)
	w.a.Verify = func(context.Context) (*verify.Report, error) { return nil, errors.New("disk") }
	w.get("/spend/verify").refused(503)
}
