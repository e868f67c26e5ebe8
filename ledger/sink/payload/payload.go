// Package payload composes LiteLLM's standard logging payload, the record that
// callbacks send, from a ledger entry: the names and types that receivers of
// LiteLLM's records rely on. It decides nothing about who gets it.
package payload

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tollgate/config/price"
	"tollgate/ledger/store"
)

// Redacted stands in for content that must not be told.
const Redacted = "redacted-by-litellm"

// Options say what a record tells.
type Options struct {
	// Redact replaces prompts and answers (turn_off_message_logging).
	Redact bool
	// HideCaller leaves out who called (redact_user_api_key_info).
	HideCaller bool
}

// Record is one call as LiteLLM's callbacks tell it. CallID is beside LiteLLM's
// fields: no other record has it, and it is the same in every repetition.
type Record struct {
	ID                 string          `json:"id"`
	CallID             string          `json:"litellm_call_id"`
	TraceID            string          `json:"trace_id"`
	CallType           string          `json:"call_type"`
	Stream             bool            `json:"stream"`
	ResponseCost       float64         `json:"response_cost"`
	CostBreakdown      costBreakdown   `json:"cost_breakdown"`
	CostFailure        any             `json:"response_cost_failure_debug_info"`
	Status             string          `json:"status"`
	StatusFields       statusFields    `json:"status_fields"`
	Provider           string          `json:"custom_llm_provider"`
	TotalTokens        int64           `json:"total_tokens"`
	PromptTokens       int64           `json:"prompt_tokens"`
	CompletionTokens   int64           `json:"completion_tokens"`
	StartTime          seconds         `json:"startTime"`
	EndTime            seconds         `json:"endTime"`
	CompletionStart    seconds         `json:"completionStartTime"`
	ResponseTime       float64         `json:"response_time"`
	ModelMap           modelMap        `json:"model_map_information"`
	Model              string          `json:"model"`
	ModelID            *string         `json:"model_id"`
	ModelGroup         *string         `json:"model_group"`
	APIBase            string          `json:"api_base"`
	Metadata           json.RawMessage `json:"metadata"`
	CacheHit           *bool           `json:"cache_hit"`
	CacheKey           *string         `json:"cache_key"`
	SavedCacheCost     float64         `json:"saved_cache_cost"`
	RequestTags        []string        `json:"request_tags"`
	EndUser            *string         `json:"end_user"`
	RequesterIP        *string         `json:"requester_ip_address"`
	Messages           json.RawMessage `json:"messages"`
	Response           json.RawMessage `json:"response"`
	ErrorString        *string         `json:"error_str"`
	ErrorInformation   errorInfo       `json:"error_information"`
	ModelParameters    json.RawMessage `json:"model_parameters"`
	HiddenParams       hiddenParams    `json:"hidden_params"`
	Guardrails         any             `json:"guardrail_information"`
	BuiltInToolsParams any             `json:"standard_built_in_tools_params"`
}

type costBreakdown struct {
	Input    float64 `json:"input_cost"`
	Output   float64 `json:"output_cost"`
	Total    float64 `json:"total_cost"`
	Tools    float64 `json:"tool_usage_cost"`
	Original float64 `json:"original_cost"`
}

type statusFields struct {
	API       string `json:"llm_api_status"`
	Guardrail string `json:"guardrail_status"`
}

type modelMap struct {
	Key   string `json:"model_map_key"`
	Value any    `json:"model_map_value"`
}

type errorInfo struct {
	Code      string `json:"error_code"`
	Class     string `json:"error_class"`
	Provider  string `json:"llm_provider"`
	Traceback string `json:"traceback"`
	Message   string `json:"error_message"`
}

type hiddenParams struct {
	ModelID    *string `json:"model_id"`
	CacheKey   *string `json:"cache_key"`
	APIBase    *string `json:"api_base"`
	Cost       string  `json:"response_cost"`
	OverheadMs float64 `json:"litellm_overhead_time_ms"`
	Headers    any     `json:"additional_headers"`
	Batch      any     `json:"batch_models"`
	ModelName  *string `json:"litellm_model_name"`
	Usage      usage   `json:"usage_object"`
}

type usage struct {
	Prompt        int64             `json:"prompt_tokens"`
	Completion    int64             `json:"completion_tokens"`
	Total         int64             `json:"total_tokens"`
	PromptParts   promptDetails     `json:"prompt_tokens_details"`
	AnswerParts   completionDetails `json:"completion_tokens_details"`
	CacheRead     int64             `json:"cache_read_input_tokens"`
	CacheCreation int64             `json:"cache_creation_input_tokens"`
}

type promptDetails struct {
	Cached     int64 `json:"cached_tokens"`
	CacheWrite int64 `json:"cache_creation_tokens"`
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

// seconds is a time as seconds since 1970, as Python's timestamps are, told to
// the microsecond.
type seconds time.Time

// MarshalJSON writes a number.
func (s seconds) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("0.0"), nil
	}
	us := t.UnixMicro()
	return fmt.Appendf(nil, "%d.%06d", us/1e6, us%1e6), nil
}

// Succeeded reports which of LiteLLM's two events a call is. An answer that the
// client did not wait for was given and is paid.
func Succeeded(e *store.Entry) bool {
	return e.Status == store.Success || e.Status == store.ClientClosed
}

// Of composes the record of an entry, with the bodies that the entry holds.
func Of(e *store.Entry, o Options) (*Record, error) {
	call := uuid.UUID(e.CallID).String()
	c, u := &e.Cost, &e.Usage
	r := &Record{
		ID: e.RequestID, CallID: call, TraceID: e.Session, CallType: e.CallType, Stream: e.Stream,
		ResponseCost: c.Total.USD(), Status: "failure", Provider: e.Provider,
		CostBreakdown: costBreakdown{
			Input: c.Input.Add(c.CacheRead).Add(c.CacheWrite).USD(), Output: c.Output.Add(c.Reasoning).USD(),
			Total: c.Total.USD(), Tools: c.Tools.USD(), Original: c.Total.USD(),
		},
		TotalTokens: u.Total(), PromptTokens: u.Prompt(), CompletionTokens: u.OutTotal,
		StartTime: seconds(e.Start), EndTime: seconds(e.End), CompletionStart: seconds(e.FirstToken),
		ModelMap: modelMap{Key: e.Model}, Model: bareModel(e), ModelID: optional(e.ModelID), ModelGroup: optional(e.Group),
		APIBase: e.APIBase, RequestTags: e.Tags, EndUser: optional(e.EndUser), RequesterIP: optional(e.IP),
		ErrorString: optional(e.ErrorMessage), Messages: contentOf(e), Response: valid(e.Response, "null"),
		ModelParameters: parameters(e.Request),
		HiddenParams: hiddenParams{
			ModelID: optional(e.ModelID), APIBase: optional(e.APIBase), Cost: c.Total.String(),
			OverheadMs: float64(e.Overhead) / float64(time.Millisecond), ModelName: optional(e.Model), Usage: usageOf(u),
		},
	}
	if Succeeded(e) {
		r.Status = "success"
	} else {
		r.ErrorInformation = errorInfo{Code: e.ErrorCode, Class: e.ErrorClass, Provider: e.Provider, Message: e.ErrorMessage}
	}
	r.StatusFields = statusFields{API: r.Status, Guardrail: "not_run"}
	if r.ID == "" {
		r.ID = call
	}
	if r.TraceID == "" {
		r.TraceID = call
	}
	if r.RequestTags == nil {
		r.RequestTags = []string{}
	}
	end := e.End
	if e.FirstToken.IsZero() {
		r.CompletionStart = r.EndTime
	} else {
		end = e.FirstToken
	}
	r.ResponseTime = max(0, end.Sub(e.Start).Seconds())
	switch strings.ToLower(e.CacheHit) {
	case "true", "false":
		hit := strings.EqualFold(e.CacheHit, "true")
		r.CacheHit = &hit
	}
	if e.CacheKey != "" {
		key := e.CacheKey
		r.CacheKey, r.HiddenParams.CacheKey = &key, &key
	}
	r.SavedCacheCost = e.Saved.USD()
	if o.HideCaller {
		r.EndUser, r.RequesterIP = nil, nil
	}
	if o.Redact {
		redact(r)
	}
	var err error
	if r.Metadata, err = metadata(e, o); err != nil {
		return nil, fmt.Errorf("compose record of call %s: %w", call, err)
	}
	return r, nil
}

// redact leaves the shape of content, as LiteLLM does, and none of it.
func redact(r *Record) {
	r.Messages = json.RawMessage(`[{"role":"user","content":"` + Redacted + `"}]`)
	r.Response = json.RawMessage(`{"text":"` + Redacted + `"}`)
	r.ModelParameters = json.RawMessage("{}") // tools and formats are words of the caller too
}

// bareModel is the model as the provider calls it.
func bareModel(e *store.Entry) string {
	if e.Provider != "" {
		return strings.TrimPrefix(e.Model, e.Provider+"/")
	}
	return e.Model
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func valid(b []byte, otherwise string) json.RawMessage {
	if len(b) == 0 || !json.Valid(b) {
		return json.RawMessage(otherwise)
	}
	return b
}

func usageOf(u *price.Usage) usage {
	write := u.CacheWrite5m + u.CacheWrite1h
	return usage{
		Prompt: u.Prompt(), Completion: u.OutTotal, Total: u.Total(), CacheRead: u.CacheRead, CacheCreation: write,
		PromptParts: promptDetails{Cached: u.CacheRead, CacheWrite: write, Text: u.InUncached, Audio: u.InAudio, Image: u.InImage},
		AnswerParts: completionDetails{Reasoning: u.OutReasoning, Audio: u.OutAudio, Accepted: u.PredAccepted, Rejected: u.PredRejected},
	}
}
