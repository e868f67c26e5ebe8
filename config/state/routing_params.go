package state

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/price"
)

// params reads raw parameters. Those of models made over the API have passed
// no file reader, so every reader here takes numbers as text too and treats
// what it cannot read as absent.
type params model.Params

func (p params) text(name string) string {
	if t := asText(p[name]); t != nil {
		return *t
	}
	return ""
}

// number gives a number from 0 on.
func (p params) number(name string) *float64 {
	t := asText(p[name])
	if t == nil {
		return nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(*t), 64)
	if err != nil || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	return &f
}

func (p params) count(name string) *int64 {
	f := p.number(name)
	if f == nil || *f > 1<<53 {
		return nil
	}
	n := int64(*f)
	return &n
}

func (p params) seconds(name string) time.Duration {
	f := p.number(name)
	if f == nil || *f > math.MaxInt64/1e9 {
		return 0
	}
	return time.Duration(*f * float64(time.Second))
}

func (p params) texts(name string) []string {
	raw := p[name]
	if len(raw) == 0 {
		return nil
	}
	if t := asText(raw); t != nil {
		return []string{*t}
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

func (p params) object(name string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if len(p[name]) == 0 || json.Unmarshal(p[name], &m) != nil {
		return nil
	}
	return m
}

// asText gives a string, number or boolean as text; nil for anything else.
func asText(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	s := string(raw)
	switch raw[0] {
	case '"':
		if json.Unmarshal(raw, &s) != nil {
			return nil
		}
	case '{', '[', 'n':
		return nil
	}
	return &s
}

func asBool(raw json.RawMessage) bool {
	t := asText(raw)
	return t != nil && (strings.EqualFold(*t, "true") || *t == "1")
}

// control are the litellm_params that the gateway or a translator acts on.
// Everything else is part of requests to the provider.
var control = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`model model_name model_info id api_key api_base base_url api_version api_type
		organization custom_llm_provider litellm_credential_name rpm tpm weight order timeout request_timeout
		stream_timeout max_parallel_requests num_retries max_retries cooldown_time extra_headers headers extra_body
		drop_params additional_drop_params allowed_openai_params tags tag_regex region_name aws_region_name
		vertex_location watsonx_region_name max_budget budget_duration base_model mock_response mock_timeout
		mock_delay configurable_clientside_auth_params use_in_pass_through use_litellm_proxy
		merge_reasoning_content_in_choices cache_control_injection_points vertex_project vertex_credentials
		aws_access_key_id aws_secret_access_key aws_session_token aws_profile_name aws_role_name aws_session_name
		aws_web_identity_token aws_bedrock_runtime_endpoint aws_sts_endpoint aws_external_id azure_ad_token
		azure_ad_token_provider azure_username azure_password tenant_id client_id client_secret azure_scope
		watsonx_project_id success_callback failure_callback callbacks hide_from_model_list allow_private
		max_file_size_mb fallbacks context_window_fallbacks content_policy_fallbacks guardrails metadata
		litellm_metadata cache caching ttl priority no-log litellm_trace_id litellm_session_id stream stream_options
		messages input prompt auto_router_config auto_router_config_path auto_router_default_model
		auto_router_embedding_model default_api_key_tpm_limit default_api_key_rpm_limit model_config`) {
		m[name] = true
	}
	return m
}()

func isControl(name string) bool { return control[name] || price.IsKey(name) }
