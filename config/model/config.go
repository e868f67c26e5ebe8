package model

import (
	"encoding/json"
	"time"

	"tollgate/config/unit"
)

// Config is a config.yaml after environment references are resolved and before
// anything is compiled. It is proposed through raft and replaced as a whole.
// Secret strings inside the raw values travel sealed (config/secret).
type Config struct {
	Deployments []Deployment               `json:"model_list"`
	LiteLLM     LiteLLMSettings            `json:"litellm_settings"`
	Router      RouterSettings             `json:"router_settings"`
	General     GeneralSettings            `json:"general_settings"`
	Tollgate    TollgateSettings           `json:"tollgate_settings"`
	Environment map[string]string          `json:"environment_variables,omitempty"`
	Credentials map[string]Params          `json:"credentials,omitempty"` // by credential_name
	Callbacks   []Callback                 `json:"callbacks,omitempty"`
	Cache       *Cache                     `json:"cache,omitempty"` // nil: no answers are kept
	Other       map[string]json.RawMessage `json:"other,omitempty"` // sections kept for later readers
}

// Params is a map of raw JSON values: LiteLLM's litellm_params and model_info
// may hold anything, and what we do not know travels on to the provider.
type Params map[string]json.RawMessage

// Deployment is one entry of model_list. ID is model_info.id or the
// deterministic hash of group name and params, alike on every node.
type Deployment struct {
	ID     string `json:"id"`
	Group  string `json:"model_name"`
	Params Params `json:"litellm_params"`
	Info   Params `json:"model_info,omitempty"`
}

// LiteLLMSettings are the litellm_settings that Tollgate reads; the rest stays in Raw.
type LiteLLMSettings struct {
	DropParams            bool                   `json:"drop_params,omitempty"`
	ModifyParams          bool                   `json:"modify_params,omitempty"`
	NumRetries            *int                   `json:"num_retries,omitempty"`
	RequestTimeout        float64                `json:"request_timeout,omitempty"`
	MaxStreaming          float64                `json:"max_streaming_duration,omitempty"` // seconds that a stream may last; 0: any
	AllowedFails          *int                   `json:"allowed_fails,omitempty"`
	CooldownTime          *float64               `json:"cooldown_time,omitempty"`
	Fallbacks             map[string][]string    `json:"fallbacks,omitempty"` // "*" holds default_fallbacks
	ContextFallbacks      map[string][]string    `json:"context_window_fallbacks,omitempty"`
	ContentFallbacks      map[string][]string    `json:"content_policy_fallbacks,omitempty"`
	SuccessCallbacks      []string               `json:"success_callback,omitempty"`
	FailureCallbacks      []string               `json:"failure_callback,omitempty"`
	TurnOffMessageLogging bool                   `json:"turn_off_message_logging,omitempty"`
	ProxyBudget           *unit.Money            `json:"proxy_budget_nano,omitempty"` // max_budget with budget_duration
	ProxyBudgetDuration   string                 `json:"proxy_budget_duration,omitempty"`
	CallerRPM             *int64                 `json:"rpm,omitempty"` // the seed's rpm, tpm, max_budget:
	CallerTPM             *int64                 `json:"tpm,omitempty"` // defaults for a caller (key's user, else
	CallerBudget          *unit.Money            `json:"caller_budget_nano,omitempty"`
	CallerBudgetDuration  string                 `json:"caller_budget_duration,omitempty"` // key) without its own
	EndUserBudget         *unit.Money            `json:"max_end_user_budget_nano,omitempty"`
	EndUserBudgetID       string                 `json:"max_end_user_budget_id,omitempty"`
	TagBudgets            map[string]ModelBudget `json:"tag_budget_config,omitempty"` // by tag
	DefaultKeyParams      json.RawMessage        `json:"default_key_generate_params,omitempty"`
	UpperboundKeyParams   json.RawMessage        `json:"upperbound_key_generate_params,omitempty"`
	DefaultInternalUser   json.RawMessage        `json:"default_internal_user_params,omitempty"`
	InternalUserBudget    *unit.Money            `json:"max_internal_user_budget_nano,omitempty"`
	InternalUserDuration  string                 `json:"internal_user_budget_duration,omitempty"`
	RequireMetricsAuth    bool                   `json:"require_auth_for_metrics_endpoint,omitempty"`
	PrometheusEndUser     bool                   `json:"enable_end_user_cost_tracking_prometheus_only,omitempty"`
	Timezone              string                 `json:"timezone,omitempty"`
	NoAuditLogs           bool                   `json:"no_audit_logs,omitempty"` // store_audit_logs: false
	Raw                   Params                 `json:"raw,omitempty"`
}

// AliasTarget is what one model_group_alias entry stands for: one group, or
// several that share the load.
type AliasTarget struct {
	Groups []string `json:"groups"`
	Hidden bool     `json:"hidden,omitempty"`
}

// RouterSettings are the router_settings.
type RouterSettings struct {
	Strategy         string                    `json:"routing_strategy,omitempty"`
	StrategyArgs     json.RawMessage           `json:"routing_strategy_args,omitempty"`
	Aliases          map[string]AliasTarget    `json:"model_group_alias,omitempty"`
	Fallbacks        map[string][]string       `json:"fallbacks,omitempty"`
	ContextFallbacks map[string][]string       `json:"context_window_fallbacks,omitempty"`
	ContentFallbacks map[string][]string       `json:"content_policy_fallbacks,omitempty"`
	MaxFallbacks     *int                      `json:"max_fallbacks,omitempty"`
	NumRetries       *int                      `json:"num_retries,omitempty"`
	RetryPolicy      map[string]int            `json:"retry_policy,omitempty"`
	GroupRetryPolicy map[string]map[string]int `json:"model_group_retry_policy,omitempty"`
	RetryAfter       float64                   `json:"retry_after,omitempty"`
	// RetryDelay is the first wait before an attempt and RetryDelayMax the longest,
	// in seconds; 0: the usual ones. LiteLLM has them in the environment only.
	RetryDelay         float64                `json:"retry_delay,omitempty"`
	RetryDelayMax      float64                `json:"retry_delay_max,omitempty"`
	Timeout            float64                `json:"timeout,omitempty"`
	StreamTimeout      float64                `json:"stream_timeout,omitempty"`
	AllowedFails       *int                   `json:"allowed_fails,omitempty"`
	AllowedFailsPolicy map[string]int         `json:"allowed_fails_policy,omitempty"`
	CooldownTime       *float64               `json:"cooldown_time,omitempty"`
	DisableCooldowns   bool                   `json:"disable_cooldowns,omitempty"`
	PreCallChecks      bool                   `json:"enable_pre_call_checks,omitempty"`
	TagFiltering       bool                   `json:"enable_tag_filtering,omitempty"`
	TagMatchAll        bool                   `json:"tag_match_all,omitempty"` // tag_filtering_match_any: false
	DefaultParams      Params                 `json:"default_litellm_params,omitempty"`
	ProviderBudgets    map[string]ModelBudget `json:"provider_budget_config,omitempty"` // by provider
	Raw                Params                 `json:"raw,omitempty"`
}

// GeneralSettings are the general_settings. MasterKeyHash is the SHA-256 of the
// master key in hex: the key itself is never replicated.
type GeneralSettings struct {
	MasterKeyHash       string   `json:"master_key_hash,omitempty"`
	StoreModelInDB      bool     `json:"store_model_in_db,omitempty"`
	StorePrompts        bool     `json:"store_prompts_in_spend_logs,omitempty"`
	DisableSpendLogs    bool     `json:"disable_spend_logs,omitempty"`
	DisableErrorLogs    bool     `json:"disable_error_logs,omitempty"`
	GlobalParallel      *int64   `json:"global_max_parallel_requests,omitempty"`
	KeyHeaderName       string   `json:"litellm_key_header_name,omitempty"`
	UserHeaderName      string   `json:"user_header_name,omitempty"`
	EnforceUserParam    bool     `json:"enforce_user_param,omitempty"`
	RejectClientTags    bool     `json:"reject_clientside_metadata_tags,omitempty"`
	AllowedRoutes       []string `json:"allowed_routes,omitempty"`
	PublicRoutes        []string `json:"public_routes,omitempty"`
	AdminOnlyRoutes     []string `json:"admin_only_routes,omitempty"`
	MaxRequestSizeMB    float64  `json:"max_request_size_mb,omitempty"`
	MaxResponseSizeMB   float64  `json:"max_response_size_mb,omitempty"`
	AlwaysStreamUsage   bool     `json:"always_include_stream_usage,omitempty"`
	ForwardClientHeader bool     `json:"forward_client_headers_to_llm_api,omitempty"`
	ForwardOrgID        bool     `json:"forward_openai_org_id,omitempty"`
	TokenLimitType      string   `json:"token_rate_limit_type,omitempty"` // total, input, output
	BackgroundHealth    bool     `json:"background_health_checks,omitempty"`
	HealthInterval      float64  `json:"health_check_interval,omitempty"`
	SpendLogsRetention  string   `json:"maximum_spend_logs_retention_period,omitempty"`
	SpendLogsInterval   string   `json:"maximum_spend_logs_retention_interval,omitempty"`
	Alerting            []string `json:"alerting,omitempty"`
	DatabaseURL         string   `json:"database_url,omitempty"` // sealed
	Raw                 Params   `json:"raw,omitempty"`
}

// TollgateSettings are ours, from tollgate_settings: the dotted names of the
// documentation as nested maps.
type TollgateSettings struct {
	LedgerSync      string `json:"ledger_sync,omitempty"`      // process (default), always, none
	LedgerReplicate string `json:"ledger_replicate,omitempty"` // async (default), sync, off
	// How long things are kept, as durations ("7d"): entries of the ledger once
	// every reader has them, its daily sums, and bodies in the database.
	LedgerKeep        string `json:"ledger_keep,omitempty"`
	LedgerKeepRollups string `json:"ledger_keep_rollups,omitempty"`
	KeepBodies        string `json:"spend_logs_keep_bodies,omitempty"`

	CompatErrors     string      `json:"compat_errors,omitempty"`    // new (default), old
	Unpriced         string      `json:"unpriced,omitempty"`         // flag (default), reject
	BudgetMode       string      `json:"budget_mode,omitempty"`      // strict (default), soft
	BudgetWaitMax    float64     `json:"budget_wait_max,omitempty"`  // seconds; 0 = 1
	Unbounded        string      `json:"budget_unbounded,omitempty"` // clamp (default), reserve_max, reject
	TPMCount         string      `json:"tpm_count,omitempty"`        // reserve (default), actual
	UserColumn       string      `json:"spend_logs_user_column,omitempty"`
	MockWithoutKey   bool        `json:"mock_without_key,omitempty"` // mock_response answers only when the provider key is missing
	DrainUpstream    bool        `json:"drain_upstream,omitempty"`   // read an abandoned stream to its usage event
	PriceFile        string      `json:"price_file,omitempty"`       // LiteLLM price-map overlay
	PriceOverlay     Params      `json:"price_overlay,omitempty"`    // its content, read by the proposing node
	Providers        []OpenAIRow `json:"providers,omitempty"`        // further OpenAI-compatible rows
	MaxRequestBytes  int64       `json:"max_request_bytes,omitempty"`
	MaxResponseBytes int64       `json:"max_response_bytes,omitempty"`
	// IdempotencyMaxBytes bounds the answers kept for repeated keys; 0 = 1 MiB.
	IdempotencyMaxBytes int64   `json:"idempotency_max_answer_bytes,omitempty"`
	PreferRegion        string  `json:"raft_prefer_region,omitempty"`      // where the leader should be
	Voters              string  `json:"raft_voters,omitempty"`             // auto (default), 1, 3, 5
	RaftProfile         string  `json:"raft_profile,omitempty"`            // auto (default), lan, wan, far
	AutoUpgradeAfter    float64 `json:"raft_auto_upgrade_after,omitempty"` // seconds; 0 = 600
	LimitsPartition     string  `json:"limits_partition,omitempty"`        // scale (default), strict
	StaleAfter          float64 `json:"stale_after,omitempty"`             // seconds without a leader after which calls are refused; 0 = never
	Raw                 Params  `json:"raw,omitempty"`
}

// OpenAIRow declares one OpenAI-compatible provider, as LiteLLM's JSON rows do.
type OpenAIRow struct {
	Name          string            `json:"name"`
	BaseURL       string            `json:"base_url"`
	KeyEnv        []string          `json:"api_key_env,omitempty"`
	BaseEnv       []string          `json:"api_base_env,omitempty"`
	ParamMappings map[string]string `json:"param_mappings,omitempty"`
	Headers       map[string]string `json:"headers,omitempty"`
	FlattenLists  bool              `json:"convert_content_list_to_string,omitempty"`
	DropParams    []string          `json:"drop_params,omitempty"`
}

// Callback is one place that hears of finished calls.
type Callback struct {
	Name string `json:"name"`
	Type string `json:"type"` // CallbackWebhook, CallbackFile
	// Success and Failure say which calls it hears of.
	Success bool `json:"success,omitempty"`
	Failure bool `json:"failure,omitempty"`
	// Content is false where prompts and answers must not be told.
	Content bool `json:"content,omitempty"`
	// HideCaller leaves out who called.
	HideCaller bool `json:"hide_caller,omitempty"`
	// Backfill begins with what the ledger has instead of the calls to come.
	Backfill bool   `json:"backfill,omitempty"`
	Region   string `json:"region,omitempty"` // where it is, for data_regions

	Webhook      string            `json:"webhook,omitempty"` // address; sealed
	Headers      map[string]string `json:"headers,omitempty"` // values sealed
	LogFormat    string            `json:"log_format,omitempty"`
	Gzip         bool              `json:"gzip,omitempty"`
	AllowPrivate bool              `json:"allow_private,omitempty"`

	BatchSize     int     `json:"batch_size,omitempty"`
	FlushInterval float64 `json:"flush_interval,omitempty"` // seconds

	Path        string `json:"path,omitempty"`
	RotateBytes int64  `json:"rotate_bytes,omitempty"`
	Keep        int    `json:"keep,omitempty"`
}

// The types of callbacks that run.
const (
	CallbackWebhook = "generic_api"
	CallbackFile    = "jsonl_file"
)

// ConfigVersion is one config kept in the state. The newest active one is what
// nodes run; the last 50 are kept for history and rollback.
type ConfigVersion struct {
	Meta
	Number uint64    `json:"number"`
	Hash   string    `json:"hash"` // of the resolved content, without secrets' plaintext
	Node   string    `json:"node"` // who proposed it
	Note   string    `json:"note,omitempty"`
	At     time.Time `json:"at"`
	Config Config    `json:"config"`
}

// EntityID is the version number, zero-padded so that ids sort by age.
func (v *ConfigVersion) EntityID() string { return ConfigID(v.Number) }
