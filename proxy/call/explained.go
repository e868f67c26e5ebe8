package call

import "time"

// Explanation is what would become of a call, and why.
type Explanation struct {
	Verdict string    `json:"verdict"` // Admitted or NotAdmitted
	Summary string    `json:"summary"` // one sentence
	At      time.Time `json:"at"`
	Region  string    `json:"region,omitzero"` // of the node that answers
	Route   string    `json:"route"`
	Model   string    `json:"model"`
	Group   string    `json:"model_group,omitzero"` // what the caller's aliases make of the model
	Caller  Caller    `json:"caller"`
	// Refusal is what the caller would be told.
	Refusal    *Refused    `json:"refusal,omitzero"`
	Checks     []Check     `json:"checks"`
	Strategy   string      `json:"strategy,omitzero"`
	Candidates []Candidate `json:"candidates,omitzero"`
	Chosen     *Chosen     `json:"chosen,omitzero"`
	Retries    *Retries    `json:"retries,omitzero"`
	Fallbacks  *Fallbacks  `json:"fallbacks,omitzero"`
	MaxCost    *MaxCost    `json:"max_cost,omitzero"`
	Notes      []string    `json:"notes,omitzero"`
}

// The verdicts.
const (
	Admitted    = "admitted"
	NotAdmitted = "refused"
)

// Caller is who would call.
type Caller struct {
	Master       bool   `json:"master,omitzero"`
	Key          string `json:"key_hash,omitzero"`
	KeyName      string `json:"key_name,omitzero"`
	KeyAlias     string `json:"key_alias,omitzero"`
	User         string `json:"user_id,omitzero"`
	Team         string `json:"team_id,omitzero"`
	TeamAlias    string `json:"team_alias,omitzero"`
	Organization string `json:"organization_id,omitzero"`
	EndUser      string `json:"end_user,omitzero"`
}

// Refused is a refusal as the caller would get it.
type Refused struct {
	Status     int     `json:"status"`
	Type       string  `json:"type,omitzero"`
	Param      string  `json:"param,omitzero"`
	Code       string  `json:"code"`
	Message    string  `json:"message"`
	RetryAfter float64 `json:"retry_after_seconds,omitzero"`
	Check      string  `json:"check"` // that refuses
}

// Check is one question of the walk. They stand in the order in which they are
// asked; the first that is not OK is the one that the caller hears of.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	What string `json:"what"` // in words
	// Skipped is set when there was nothing to ask: the call or its caller lacks
	// what the check is about.
	Skipped bool `json:"skipped,omitzero"`

	Scope     string     `json:"scope,omitzero"` // of limits and budgets: key, team, …
	ID        string     `json:"id,omitzero"`
	Unit      string     `json:"unit,omitzero"` // usd, requests, tokens, parallel
	Limit     *float64   `json:"limit,omitzero"`
	Used      *float64   `json:"used,omitzero"`
	Reserved  *float64   `json:"reserved,omitzero"` // by calls in flight on this node
	Free      *float64   `json:"free,omitzero"`
	Needed    *float64   `json:"needed,omitzero"`
	ResetsAt  *time.Time `json:"resets_at,omitzero"`
	Uncertain bool       `json:"uncertain,omitzero"` // not all nodes have answered
}

// Candidate is one deployment that might answer.
type Candidate struct {
	ID          string     `json:"model_id"`
	Group       string     `json:"model_group"`
	Model       string     `json:"model"` // with its provider in front
	Provider    string     `json:"provider"`
	Region      string     `json:"region,omitzero"`
	APIBase     string     `json:"api_base,omitzero"`
	Fallback    bool       `json:"fallback,omitzero"`
	Verdict     string     `json:"verdict"` // ok, or the filter that leaves it out
	Reason      string     `json:"reason,omitzero"`
	Until       *time.Time `json:"until,omitzero"` // of a cooldown
	Probability float64    `json:"probability"`
	Score       *float64   `json:"score,omitzero"` // what the strategy compares, the lower the better
	Order       *int       `json:"order,omitzero"`
	Weight      *float64   `json:"weight,omitzero"`
	Tags        []string   `json:"tags,omitzero"`
	MaxInput    int64      `json:"max_input_tokens,omitzero"`
	InFlight    int        `json:"in_flight,omitzero"`
	Requests    int64      `json:"requests_this_minute,omitzero"`
	Tokens      int64      `json:"tokens_this_minute,omitzero"`
	Latency     float64    `json:"latency_seconds,omitzero"`
	InputPrice  *float64   `json:"input_cost_per_token,omitzero"`
	OutputPrice *float64   `json:"output_cost_per_token,omitzero"`
	Limits      []Check    `json:"limits,omitzero"` // the deployment's own and its provider's
}

// Chosen is the deployment that is asked first, the likeliest where chance
// decides.
type Chosen struct {
	ID          string  `json:"model_id"`
	Group       string  `json:"model_group"`
	Model       string  `json:"model"`
	Probability float64 `json:"probability"`
	Rule        string  `json:"rule"`
	Reason      string  `json:"reason,omitzero"` // as attempts tell it: fallback, spill_over:…
}

// Retries is how often the call is tried again.
type Retries struct {
	Same         int `json:"num_retries"`
	MaxFallbacks int `json:"max_fallbacks"`
}

// Fallbacks are where failures lead, by kind.
type Fallbacks struct {
	General []Fallback `json:"general,omitzero"`
	Context []Fallback `json:"context_window,omitzero"`
	Content []Fallback `json:"content_policy,omitzero"`
}

// Fallback is one model to try when another failed.
type Fallback struct {
	Model string `json:"model"`
	OK    bool   `json:"ok"`
	Why   string `json:"why,omitzero"` // not
}

// MaxCost is what the call would reserve.
type MaxCost struct {
	USD    float64 `json:"usd"`
	Least  float64 `json:"least_usd,omitzero"` // with which it would be content
	Input  int64   `json:"input_tokens"`
	Output int64   `json:"output_tokens"`
	Priced bool    `json:"priced"`
}
