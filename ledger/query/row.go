package query

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"tollgate/config/price"
	"tollgate/ledger/store"
)

// Row is one row of LiteLLM's SpendLogs, with its column names.
type Row struct {
	RequestID         string          `json:"request_id"`
	CallType          string          `json:"call_type"`
	APIKey            string          `json:"api_key"`
	Spend             float64         `json:"spend"`
	TotalTokens       int64           `json:"total_tokens"`
	PromptTokens      int64           `json:"prompt_tokens"`
	CompletionTokens  int64           `json:"completion_tokens"`
	StartTime         time.Time       `json:"startTime"`
	EndTime           time.Time       `json:"endTime"`
	RequestDurationMs int64           `json:"request_duration_ms"`
	CompletionStart   time.Time       `json:"completionStartTime"`
	Model             string          `json:"model"`
	ModelID           string          `json:"model_id"`
	ModelGroup        string          `json:"model_group"`
	Provider          string          `json:"custom_llm_provider"`
	APIBase           string          `json:"api_base"`
	User              string          `json:"user"`
	Metadata          json.RawMessage `json:"metadata"`
	CacheHit          string          `json:"cache_hit"`
	CacheKey          string          `json:"cache_key"`
	RequestTags       []string        `json:"request_tags"`
	TeamID            string          `json:"team_id"`
	OrganizationID    string          `json:"organization_id"`
	EndUser           string          `json:"end_user"`
	RequesterIP       string          `json:"requester_ip_address"`
	Messages          json.RawMessage `json:"messages"`
	Response          json.RawMessage `json:"response"`
	ProxyRequest      json.RawMessage `json:"proxy_server_request"`
	SessionID         string          `json:"session_id"`
	Status            string          `json:"status"`

	// CallID is the gateway's own id of the call, which no other call has.
	CallID string `json:"-"`
	// Seq is the entry's number in its node's ledger.
	Seq uint64 `json:"-"`
	// DataRegions are the regions that the call's data may be in, by the rule that
	// held when it was made; empty: anywhere.
	DataRegions []string `json:"-"`
}

// UserColumn says what the user column holds.
type UserColumn string

// The ways of spend_logs.user_column.
const (
	UserAuto    UserColumn = "auto"         // the key's owner, else the request's user
	UserOwner   UserColumn = "key_owner"    // as LiteLLM: always the key's owner
	UserRequest UserColumn = "request_user" // always the request's user
)

// masterKey is what rows carry for the master key, defaultUser its owner.
const (
	masterKey   = "litellm_proxy_master_key"
	defaultUser = "default_user_id"
)

// userOf is the value of the user column.
func userOf(e *store.Entry, c UserColumn) string {
	owner := e.User
	if e.Key == masterKey && (owner == "" || owner == defaultUser) {
		if c != UserOwner && e.RequestUser != "" {
			return e.RequestUser
		}
		return defaultUser
	}
	switch {
	case c == UserRequest:
		return e.RequestUser
	case owner == "" && c != UserOwner:
		return e.RequestUser
	}
	return owner
}

// NewRow turns an entry into its row. ownsID is false when another call has the
// provider's request id already: the row then goes by the call's own.
func NewRow(e *store.Entry, c UserColumn, ownsID bool) (Row, error) {
	call := uuid.UUID(e.CallID).String()
	r := Row{
		RequestID: e.RequestID, CallID: call, Seq: e.Seq, CallType: e.CallType, APIKey: e.Key,
		Spend: e.Cost.Total.USD(), TotalTokens: e.Usage.Total(), PromptTokens: e.Usage.Prompt(), CompletionTokens: e.Usage.OutTotal,
		StartTime: e.Start, EndTime: e.End, CompletionStart: e.FirstToken,
		Model: e.Model, ModelID: e.ModelID, ModelGroup: e.Group, Provider: e.Provider, APIBase: e.APIBase,
		User: userOf(e, c), CacheHit: e.CacheHit, CacheKey: cmp.Or(e.CacheKey, "Cache OFF"), RequestTags: e.Tags, TeamID: e.Team,
		OrganizationID: e.Organization, EndUser: e.EndUser, RequesterIP: e.IP, SessionID: e.Session, Status: e.Status,
		Messages: object(e.Messages), Response: object(e.Response), ProxyRequest: object(e.Request),
		DataRegions: e.DataRegions,
	}
	if r.RequestID == "" || !ownsID {
		r.RequestID = call
	}
	if r.CompletionStart.IsZero() {
		r.CompletionStart = r.EndTime
	}
	if r.EndTime.After(r.StartTime) {
		r.RequestDurationMs = r.EndTime.Sub(r.StartTime).Milliseconds()
	}
	if r.SessionID == "" {
		r.SessionID = call
	}
	if r.CacheHit == "" {
		r.CacheHit = "None"
	}
	if r.RequestTags == nil {
		r.RequestTags = []string{}
	}
	var err error
	if r.Metadata, err = metadata(e); err != nil {
		return Row{}, fmt.Errorf("row of call %s: %w", call, err)
	}
	return r, nil
}

func object(b []byte) json.RawMessage {
	if len(b) == 0 || !json.Valid(b) {
		return json.RawMessage("{}")
	}
	return b
}

// fixed are LiteLLM's keys of the metadata column: readers rely on them, so a
// client's keys of the same names do not get in.
type fixed struct {
	Key               string          `json:"user_api_key"`
	KeyAlias          string          `json:"user_api_key_alias"`
	TeamID            string          `json:"user_api_key_team_id"`
	TeamAlias         string          `json:"user_api_key_team_alias"`
	UserID            string          `json:"user_api_key_user_id"`
	OrgID             string          `json:"user_api_key_org_id"`
	IP                string          `json:"requester_ip_address"`
	AdditionalUsage   any             `json:"additional_usage_values"`
	Usage             any             `json:"usage_object"`
	SpendLogsMetadata json.RawMessage `json:"spend_logs_metadata"`
	Status            string          `json:"status"`
	Error             *errorInfo      `json:"error_information"`
	ProxyRequest      any             `json:"proxy_server_request"`
	Guardrails        []string        `json:"applied_guardrails"`
	ModelMap          modelMap        `json:"model_map_information"`
	OverheadMs        float64         `json:"litellm_overhead_time_ms"`
	AttemptedRetries  int             `json:"attempted_retries"`
	MaxRetries        int             `json:"max_retries"`
	Fallbacks         int             `json:"attempted_fallbacks"`
	ServedGroup       string          `json:"model_group,omitempty"` // of a fallback that answered
	PreviousModels    []previousModel `json:"previous_models,omitempty"`
	CostBreakdown     costBreakdown   `json:"cost_breakdown"`
	ResponseID        string          `json:"response_id,omitempty"`
	CostError         string          `json:"cost_error,omitempty"`
	Tollgate          own             `json:"tollgate"`
}

type errorInfo struct {
	Code      string `json:"error_code"`
	Class     string `json:"error_class"`
	Provider  string `json:"llm_provider"`
	Traceback string `json:"traceback"`
	Message   string `json:"error_message"`
}

type modelMap struct {
	Key   string `json:"model_map_key"`
	Value any    `json:"model_map_value"`
}

type costBreakdown struct {
	Input    float64 `json:"input_cost"`
	Output   float64 `json:"output_cost"`
	Total    float64 `json:"total_cost"`
	Tools    float64 `json:"tool_usage_cost"`
	Original float64 `json:"original_cost"`
	Discount float64 `json:"discount_amount"`
	Margin   float64 `json:"margin_total_amount"`
}

// own is what we know beyond LiteLLM: enough to recompute the bill.
type own struct {
	CallID         string              `json:"call_id"`
	Node           string              `json:"node,omitempty"`
	Region         string              `json:"region,omitempty"`
	DataRegions    []string            `json:"data_regions,omitempty"`
	PriceVersion   string              `json:"price_version,omitempty"`
	Priced         bool                `json:"priced"`
	Notes          []string            `json:"notes,omitempty"`
	Reserved       string              `json:"reserved,omitempty"`
	Attempts       []store.ToldAttempt `json:"attempts,omitempty"`
	Charges        []charge            `json:"charges,omitempty"`
	Refusal        *limitRefused       `json:"refusal,omitempty"`
	Stream         bool                `json:"stream,omitempty"`
	Estimated      bool                `json:"usage_estimated,omitempty"`
	Usage          price.Usage         `json:"usage"`
	ProviderUsage  json.RawMessage     `json:"provider_usage,omitempty"`
	CacheReadCost  float64             `json:"cache_read_cost,omitempty"`
	CacheWriteCost float64             `json:"cache_write_cost,omitempty"`
	ReasoningCost  float64             `json:"reasoning_cost,omitempty"`
}

// reserved are the names that only the gateway may write at the top level.
var reserved = map[string]bool{
	"user_api_key": true, "user_api_key_alias": true, "user_api_key_team_id": true, "user_api_key_team_alias": true,
	"user_api_key_user_id": true, "user_api_key_org_id": true, "user_api_key_project_id": true,
	"user_api_key_project_alias": true, "requester_ip_address": true, "additional_usage_values": true,
	"usage_object": true, "spend_logs_metadata": true, "status": true, "error_information": true,
	"proxy_server_request": true, "applied_guardrails": true, "guardrail_information": true, "batch_models": true,
	"mcp_tool_call_metadata": true, "vector_store_request_metadata": true, "model_map_information": true,
	"cold_storage_object_key": true, "litellm_overhead_time_ms": true, "attempted_retries": true, "max_retries": true,
	"cost_breakdown": true, "response_id": true, "cost_error": true, "tollgate": true,
	"attempted_fallbacks": true, "model_group": true, "previous_models": true,
}

// Reserved reports whether a key of the metadata column is the gateway's: the
// proxy strips such keys from what a client sends.
func Reserved(key string) bool { return reserved[key] }

// metadata lays the client's keys beside the fixed ones.
func metadata(e *store.Entry) (json.RawMessage, error) {
	f, err := json.Marshal(fixedOf(e))
	if err != nil {
		return nil, fmt.Errorf("compose metadata: %w", err)
	}
	var client map[string]json.RawMessage
	if len(e.Metadata) == 0 || json.Unmarshal(e.Metadata, &client) != nil {
		return f, nil //nolint:nilerr // not an object: LiteLLM's readers expect one, so it stays out
	}
	for k := range client {
		if reserved[k] {
			delete(client, k)
		}
	}
	if len(client) == 0 {
		return f, nil
	}
	c, err := json.Marshal(client)
	if err != nil {
		return nil, fmt.Errorf("compose metadata: %w", err)
	}
	// Two objects without a common key: one after the other is one object.
	out := append(c[:len(c)-1], ',')
	return append(out, f[1:]...), nil
}

func fixedOf(e *store.Entry) *fixed {
	c, u := &e.Cost, &e.Usage
	f := &fixed{
		Key: e.Key, KeyAlias: e.KeyAlias, TeamID: e.Team, TeamAlias: e.TeamAlias, UserID: e.User, OrgID: e.Organization,
		IP: e.IP, AdditionalUsage: additional(u), Usage: usageObject(u), SpendLogsMetadata: nullable(e.SpendLogsMetadata),
		Status: e.Status, ModelMap: modelMap{Key: e.Model}, OverheadMs: float64(e.Overhead) / float64(time.Millisecond),
		AttemptedRetries: e.Retried(), MaxRetries: e.MaxRetries, Fallbacks: e.Fallbacks, ServedGroup: e.ServedGroup(),
		PreviousModels: previousModels(e), ResponseID: e.RequestID, Guardrails: []string{},
		CostBreakdown: costBreakdown{
			Input:  c.Input.Add(c.CacheRead).Add(c.CacheWrite).USD(),
			Output: c.Output.Add(c.Reasoning).USD(), Total: c.Total.USD(), Tools: c.Tools.USD(), Original: c.Total.USD(),
		},
		Tollgate: own{
			CallID: uuid.UUID(e.CallID).String(), Node: e.Node, Charges: charges(e), Refusal: refusalOf(e.Refused), Region: e.Region, DataRegions: e.DataRegions, PriceVersion: c.Version, Priced: c.Priced, Notes: c.Notes, Attempts: e.ToldAttempts(),
			Stream: e.Stream, Estimated: u.Estimated, Usage: *u, ProviderUsage: validOrNothing(e.RawUsage),
			CacheReadCost: c.CacheRead.USD(), CacheWriteCost: c.CacheWrite.USD(), ReasoningCost: c.Reasoning.USD(),
		},
	}
	if e.Max != 0 {
		f.Tollgate.Reserved = e.Max.String()
	}
	if e.Note != "" {
		f.Tollgate.Notes = append([]string{e.Note}, c.Notes...)
	}
	if e.Status == store.Failure || e.Status == store.Interrupted {
		f.Error = &errorInfo{Code: e.ErrorCode, Class: e.ErrorClass, Provider: e.Provider, Message: e.ErrorMessage}
	} else if !c.Priced {
		f.CostError = "no price is known for " + strconv.Quote(e.Model)
	}
	return f
}

func nullable(b []byte) json.RawMessage {
	if len(b) == 0 || !json.Valid(b) {
		return json.RawMessage("null")
	}
	return b
}

func validOrNothing(b []byte) json.RawMessage {
	if !json.Valid(b) {
		return nil
	}
	return b
}

type promptDetails struct {
	Cached     int64 `json:"cached_tokens"`
	CacheWrite int64 `json:"cache_creation_tokens,omitempty"`
	Text       int64 `json:"text_tokens"`
	Audio      int64 `json:"audio_tokens"`
	Image      int64 `json:"image_tokens"`
}

type completionDetails struct {
	Reasoning int64 `json:"reasoning_tokens"`
	Audio     int64 `json:"audio_tokens"`
	Accepted  int64 `json:"accepted_prediction_tokens"`
	Rejected  int64 `json:"rejected_prediction_tokens"`
}

type usageValues struct {
	Prompt     promptDetails     `json:"prompt_tokens_details"`
	Completion completionDetails `json:"completion_tokens_details"`
	CacheRead  int64             `json:"cache_read_input_tokens"`
	CacheWrite int64             `json:"cache_creation_input_tokens"`
}

func additional(u *price.Usage) usageValues {
	write := u.CacheWrite5m + u.CacheWrite1h
	return usageValues{
		Prompt:     promptDetails{Cached: u.CacheRead, CacheWrite: write, Text: u.InUncached, Audio: u.InAudio, Image: u.InImage},
		Completion: completionDetails{Reasoning: u.OutReasoning, Audio: u.OutAudio, Accepted: u.PredAccepted, Rejected: u.PredRejected},
		CacheRead:  u.CacheRead, CacheWrite: write,
	}
}

func usageObject(u *price.Usage) any {
	return struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
		usageValues
	}{u.Prompt(), u.OutTotal, u.Total(), additional(u)}
}
