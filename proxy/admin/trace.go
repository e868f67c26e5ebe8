package admin

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/ledger/query"
	"tollgate/proxy/refusal"
)

// trace is what became of one call, put together from its row.
type trace struct {
	Summary   string         `json:"summary"`
	RequestID string         `json:"request_id"`
	CallID    string         `json:"call_id,omitzero"`
	Status    string         `json:"status"`
	Start     time.Time      `json:"start"`
	End       time.Time      `json:"end"`
	Millis    int64          `json:"duration_ms"`
	Overhead  float64        `json:"overhead_ms,omitzero"`
	CallType  string         `json:"call_type"`
	Caller    traceCaller    `json:"caller"`
	Model     string         `json:"model"` // as it was asked for
	Attempts  []traceAttempt `json:"attempts"`
	Answered  *traceAttempt  `json:"answered_by,omitzero"`
	Refusal   *traceRefusal  `json:"refusal,omitzero"`
	CacheHit  bool           `json:"cache_hit,omitzero"`
	CacheKey  string         `json:"cache_key,omitzero"`
	Usage     traceUsage     `json:"usage"`
	Cost      traceCost      `json:"cost"`
	Charges   []traceCharge  `json:"charges,omitzero"`
	Region    string         `json:"region,omitzero"`
	Regions   []string       `json:"data_regions,omitzero"`
	Node      string         `json:"node,omitzero"`
	Books     string         `json:"books"`
	Notes     []string       `json:"notes,omitzero"`
}

type traceCaller struct {
	Key          string   `json:"key_hash,omitzero"`
	Alias        string   `json:"key_alias,omitzero"`
	User         string   `json:"user_id,omitzero"`
	Team         string   `json:"team_id,omitzero"`
	TeamAlias    string   `json:"team_alias,omitzero"`
	Organization string   `json:"organization_id,omitzero"`
	EndUser      string   `json:"end_user,omitzero"`
	Tags         []string `json:"tags,omitzero"`
	IP           string   `json:"ip,omitzero"`
	Session      string   `json:"session_id,omitzero"`
}

// traceAttempt is one deployment that was asked. Its names are the row's.
type traceAttempt struct {
	Group    string  `json:"model_group,omitzero"`
	ID       string  `json:"model_id,omitzero"`
	Model    string  `json:"model,omitzero"`
	Provider string  `json:"provider,omitzero"`
	Region   string  `json:"region,omitzero"`
	APIBase  string  `json:"api_base,omitzero"`
	Reason   string  `json:"reason,omitzero"`
	Error    string  `json:"error,omitzero"`
	Status   int     `json:"status,omitzero"`
	AfterMs  float64 `json:"after_ms,omitzero"`
	WaitMs   float64 `json:"wait_ms,omitzero"`
	TookMs   float64 `json:"took_ms,omitzero"`
}

// traceRefusal is why a call got no answer: the limit or budget that refused it,
// where it was one.
type traceRefusal struct {
	Class    string     `json:"class,omitzero"`
	Code     string     `json:"code,omitzero"`
	Message  string     `json:"message,omitzero"`
	Scope    string     `json:"scope,omitzero"`
	ID       string     `json:"id,omitzero"`
	Unit     string     `json:"unit,omitzero"`
	Limit    *float64   `json:"limit,omitzero"`
	Used     *float64   `json:"used,omitzero"`
	Reserved *float64   `json:"reserved,omitzero"`
	Needed   *float64   `json:"needed,omitzero"`
	ResetsAt *time.Time `json:"resets_at,omitzero"`
}

type traceUsage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	Estimated  bool  `json:"estimated,omitzero"`
}

type traceCost struct {
	USD          float64 `json:"usd"`
	Input        float64 `json:"input"`
	Output       float64 `json:"output"`
	CacheRead    float64 `json:"cache_read,omitzero"`
	CacheWrite   float64 `json:"cache_write,omitzero"`
	Reasoning    float64 `json:"reasoning,omitzero"`
	Tools        float64 `json:"tools,omitzero"`
	Priced       bool    `json:"priced"`
	PriceVersion string  `json:"price_version,omitzero"`
	Reserved     string  `json:"reserved,omitzero"`
}

// traceCharge is a budget in which the call counts.
type traceCharge struct {
	Scope string     `json:"scope"`
	ID    string     `json:"id"`
	Since *time.Time `json:"window_start,omitzero"`
}

// told is what of a row's metadata makes a trace.
type told struct {
	KeyAlias  string  `json:"user_api_key_alias"`
	TeamAlias string  `json:"user_api_key_team_alias"`
	UserID    string  `json:"user_api_key_user_id"`
	Overhead  float64 `json:"litellm_overhead_time_ms"`
	Served    string  `json:"model_group"`
	CostError string  `json:"cost_error"`
	Cost      struct {
		Input  float64 `json:"input_cost"`
		Output float64 `json:"output_cost"`
		Tools  float64 `json:"tool_usage_cost"`
	} `json:"cost_breakdown"`
	Error *struct {
		Code    string `json:"error_code"`
		Class   string `json:"error_class"`
		Message string `json:"error_message"`
	} `json:"error_information"`
	Own struct {
		CallID     string         `json:"call_id"`
		Region     string         `json:"region"`
		Node       string         `json:"node"`
		Regions    []string       `json:"data_regions"`
		Version    string         `json:"price_version"`
		Priced     bool           `json:"priced"`
		Notes      []string       `json:"notes"`
		Reserved   string         `json:"reserved"`
		Attempts   []traceAttempt `json:"attempts"`
		Estimated  bool           `json:"usage_estimated"`
		CacheRead  float64        `json:"cache_read_cost"`
		CacheWrite float64        `json:"cache_write_cost"`
		Reasoning  float64        `json:"reasoning_cost"`
		Charges    []traceCharge  `json:"charges"`
		Refusal    *traceRefusal  `json:"refusal"`
	} `json:"tollgate"`
}

// explainRequest tells what became of a call: of any to those who see all spend,
// of their own to the others.
func (c *call) explainRequest(id string) *refusal.Refusal {
	f := query.Filter{RequestID: id, Limit: 10}
	switch {
	case c.seesSpend():
	case c.owner() != "":
		f.User = c.owner()
	default:
		f.Key = c.p.KeyHash()
	}
	page, err := c.a.Spend.Logs(c.reading(), f)
	if r := c.unread(err); r != nil {
		return r
	}
	if len(page.Rows) == 0 {
		without := ""
		if away := c.ctx.Response.Header.Peek("X-Spend-Without"); len(away) > 0 {
			without = " Without an answer: " + string(away) + "."
		}
		return notFound("request_id", "No call with the id %s is in the books, or it is not one of yours. A call that is under way is not yet there; of a key's refused calls at most %d a second are kept.%s", shortID(id), keptRefusals, without)
	}
	where := "the ledgers of the nodes"
	switch h := &c.ctx.Response.Header; {
	case c.a.Flushes && len(h.Peek("X-Spend-Source")) == 0:
		where = "PostgreSQL"
	case c.a.Flushes:
		where = "the ledgers of the nodes; PostgreSQL does not have it yet, or does not answer"
	}
	out := make([]trace, len(page.Rows))
	for i := range page.Rows {
		out[i] = traceOf(&page.Rows[i])
		out[i].Books = where
	}
	if len(out) == 1 {
		return c.ok(&out[0])
	}
	return c.ok(struct {
		Summary string  `json:"summary"`
		Calls   []trace `json:"calls"`
	}{"Several calls have this id: the provider has given it more than once.", out})
}

// shortID is an id as a message repeats it: nobody's are longer.
func shortID(id string) string {
	if len(id) > 200 {
		return strings.ToValidUTF8(id[:200], "") + "…"
	}
	return id
}

// keptRefusals is how many rows of refused calls one key may write in a second.
const keptRefusals = 100

// traceOf reads a row. Metadata of other writers may lack all that is ours.
func traceOf(r *query.Row) trace {
	var m told
	var raw map[string]jsontext.Value
	if json.Unmarshal(r.Metadata, &raw) == nil {
		for _, part := range []struct {
			name string
			to   any
		}{{"user_api_key_alias", &m.KeyAlias}, {"user_api_key_team_alias", &m.TeamAlias}, {"user_api_key_user_id", &m.UserID},
			{"litellm_overhead_time_ms", &m.Overhead}, {"model_group", &m.Served}, {"cost_error", &m.CostError},
			{"cost_breakdown", &m.Cost}, {"error_information", &m.Error}, {"tollgate", &m.Own}} {
			if v, ok := raw[part.name]; ok {
				_ = json.Unmarshal(v, part.to) //nolint:errcheck // what another writer has put there stays out
			}
		}
	}
	o := &m.Own
	t := trace{RequestID: r.RequestID, CallID: o.CallID, Status: r.Status, Start: r.StartTime, End: r.EndTime, Millis: r.RequestDurationMs,
		Overhead: m.Overhead, CallType: r.CallType, Model: r.ModelGroup, Region: o.Region, Regions: o.Regions, Node: o.Node,
		Caller: traceCaller{Key: r.APIKey, Alias: m.KeyAlias, User: r.User, Team: r.TeamID, TeamAlias: m.TeamAlias, Organization: r.OrganizationID,
			EndUser: r.EndUser, Tags: r.RequestTags, IP: r.RequesterIP, Session: r.SessionID},
		Usage: traceUsage{r.PromptTokens, r.CompletionTokens, r.TotalTokens, o.Estimated},
		Cost: traceCost{USD: r.Spend, Input: m.Cost.Input, Output: m.Cost.Output, CacheRead: o.CacheRead, CacheWrite: o.CacheWrite,
			Reasoning: o.Reasoning, Tools: m.Cost.Tools, Priced: o.Priced, PriceVersion: o.Version, Reserved: o.Reserved},
		Charges: o.Charges, Notes: o.Notes, Attempts: o.Attempts, CacheHit: strings.EqualFold(r.CacheHit, "true")}
	if m.CostError != "" {
		t.Notes = append(t.Notes, m.CostError)
	}
	if r.CacheKey != "Cache OFF" {
		t.CacheKey = r.CacheKey
	}
	t.answered(r, &m)
	t.refused(&m)
	t.sum()
	return t
}

// answered fills in the attempt that the row itself is about, when it tells of no
// others.
func (t *trace) answered(r *query.Row, m *told) {
	base, _, _ := strings.Cut(withoutUserinfo(r.APIBase), "?")
	if len(t.Attempts) == 0 {
		t.Attempts = []traceAttempt{}
		if r.ModelID != "" && !t.CacheHit {
			one := traceAttempt{Group: r.ModelGroup, ID: r.ModelID, Model: r.Model, Provider: r.Provider, APIBase: base}
			if m.Error != nil {
				one.Error = m.Error.Class
			}
			t.Attempts = append(t.Attempts, one)
		}
	}
	if n := len(t.Attempts); n > 0 {
		last := &t.Attempts[n-1]
		if last.ID == r.ModelID {
			last.APIBase = base
		}
		if last.Error == "" {
			t.Answered = last
		}
	}
}

func (t *trace) refused(m *told) {
	if m.Error == nil && m.Own.Refusal == nil {
		return
	}
	t.Refusal = m.Own.Refusal
	if t.Refusal == nil {
		t.Refusal = &traceRefusal{}
	}
	if m.Error != nil {
		t.Refusal.Class, t.Refusal.Code, t.Refusal.Message = m.Error.Class, m.Error.Code, m.Error.Message
	}
}

// sum is the trace in one sentence.
func (t *trace) sum() {
	switch {
	case t.CacheHit:
		t.Summary = "Answered from the response cache; no deployment was asked."
	case t.Status == "client_closed":
		t.Summary = "The client left before the answer was whole; what was delivered is charged."
	case t.Status == "interrupted":
		t.Summary = "The node that served the call died meanwhile; it was charged at its maximum."
	case t.Answered != nil && len(t.Attempts) > 1:
		t.Summary = "Answered by " + t.Answered.ID + " of " + t.Answered.Group + " after " + count(len(t.Attempts)-1, "failed attempt") + "."
	case t.Refusal != nil && len(t.Attempts) == 0:
		t.Summary = "Refused before any deployment was asked"
		if t.Refusal.Message != "" {
			t.Summary += ": " + t.Refusal.Message
		}
	case t.Refusal != nil:
		t.Summary = "Failed after " + count(len(t.Attempts), "attempt")
		if t.Refusal.Message != "" {
			t.Summary += ": " + t.Refusal.Message
		}
	case t.Answered != nil:
		t.Summary = "Answered by " + t.Answered.ID + "."
	default:
		t.Summary = "Booked with status " + t.Status + "."
	}
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
