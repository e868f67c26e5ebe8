package payload

import (
	"encoding/json"
	"fmt"

	"tollgate/ledger/store"
)

// notParameters are the fields of a request that are content, addresses or the
// gateway's own.
var notParameters = []string{"model", "messages", "prompt", "input", "metadata", "litellm_metadata", "system", "user",
	"tags", "no-log", "api_key", "api_base", "base_url", "extra_headers", "session_id", "litellm_session_id", "litellm_trace_id"}

// parameters are what else a request says to the model: {} when it is not kept.
func parameters(request []byte) json.RawMessage {
	var fields map[string]json.RawMessage
	if len(request) == 0 || json.Unmarshal(request, &fields) != nil {
		return json.RawMessage("{}")
	}
	for _, name := range notParameters {
		delete(fields, name)
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// contentOf is what was asked: messages, or the input of a call without them.
func contentOf(e *store.Entry) json.RawMessage {
	if len(e.Messages) > 0 {
		return valid(e.Messages, "null")
	}
	var asked struct {
		Input  json.RawMessage `json:"input"`
		Prompt json.RawMessage `json:"prompt"`
	}
	if len(e.Request) == 0 || json.Unmarshal(e.Request, &asked) != nil {
		return json.RawMessage("null")
	}
	if asked.Input != nil {
		return asked.Input
	}
	return valid(asked.Prompt, "null")
}

// fixed are the keys of metadata that only the gateway writes.
type fixed struct {
	*caller
	SpendLogsMetadata json.RawMessage     `json:"spend_logs_metadata"`
	IP                *string             `json:"requester_ip_address"`
	Requester         json.RawMessage     `json:"requester_metadata"`
	Guardrails        []string            `json:"applied_guardrails"`
	PromptManagement  any                 `json:"prompt_management_metadata"`
	MCP               any                 `json:"mcp_tool_call_metadata"`
	VectorStore       any                 `json:"vector_store_request_metadata"`
	Usage             usage               `json:"usage_object"`
	ColdStorage       any                 `json:"cold_storage_object_key"`
	AttemptedRetries  int                 `json:"attempted_retries,omitempty"`
	Fallbacks         int                 `json:"attempted_fallbacks,omitempty"`
	ServedGroup       string              `json:"model_group,omitempty"` // of a fallback that answered
	Attempts          []store.ToldAttempt `json:"tollgate_attempts,omitempty"`
}

type caller struct {
	Hash      *string `json:"user_api_key_hash"`
	Alias     *string `json:"user_api_key_alias"`
	Org       *string `json:"user_api_key_org_id"`
	Team      *string `json:"user_api_key_team_id"`
	TeamAlias *string `json:"user_api_key_team_alias"`
	User      *string `json:"user_api_key_user_id"`
	EndUser   *string `json:"user_api_key_end_user_id"`
}

// notExported are keys of the client's metadata that LiteLLM keeps to itself.
var notExported = []string{"headers", "endpoint", "caching_groups", "previous_models"}

// metadata lays the client's keys beside the fixed ones; a client cannot
// overwrite what the gateway says.
func metadata(e *store.Entry, o Options) (json.RawMessage, error) {
	f := fixed{
		SpendLogsMetadata: valid(e.SpendLogsMetadata, "null"), IP: optional(e.IP), Guardrails: []string{},
		Usage: usageOf(&e.Usage), Requester: json.RawMessage("null"),
		AttemptedRetries: e.Retried(), Fallbacks: e.Fallbacks, ServedGroup: e.ServedGroup(), Attempts: e.ToldAttempts(),
	}
	if o.HideCaller {
		f.IP = nil
	} else {
		f.caller = &caller{Hash: optional(e.Key), Alias: optional(e.KeyAlias), Org: optional(e.Organization), Team: optional(e.Team),
			TeamAlias: optional(e.TeamAlias), User: optional(e.User), EndUser: optional(e.EndUser)}
	}
	var client map[string]json.RawMessage
	if len(e.Metadata) > 0 && json.Unmarshal(e.Metadata, &client) != nil {
		client = nil // not an object: readers expect one
	}
	for _, k := range notExported {
		delete(client, k)
	}
	if client != nil {
		b, err := json.Marshal(client)
		if err != nil {
			return nil, fmt.Errorf("compose metadata: %w", err)
		}
		f.Requester = b
	}
	own, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("compose metadata: %w", err)
	}
	if len(client) == 0 {
		return own, nil
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(own, &all); err != nil {
		return nil, fmt.Errorf("compose metadata: %w", err)
	}
	for k, v := range client {
		if _, taken := all[k]; !taken && !callerKey(k) && !attemptKey(k) {
			all[k] = v
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("compose metadata: %w", err)
	}
	return b, nil
}

// callerKey is a name under which receivers look for who called; hidden or not,
// it is not the client's to fill.
func callerKey(k string) bool {
	const prefix = "user_api_key"
	return len(k) >= len(prefix) && k[:len(prefix)] == prefix
}
