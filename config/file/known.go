package file

import "strings"

// The names that LiteLLM's configuration knows, section by section. A known
// name is accepted without noise even where nothing here reads it.
var (
	knownTop = words(`model_list litellm_settings router_settings general_settings environment_variables include
		credential_list callback_settings guardrails litellm_params mcp_servers vector_store_registry search_tools
		prompts agent_list mcp_tools files_settings finetune_settings assistant_settings default_vertex_config
		tollgate_settings`)

	knownLiteLLM = words(`success_callback failure_callback callbacks service_callback drop_params modify_params
		num_retries request_timeout allowed_fails cooldown_time fallbacks context_window_fallbacks
		content_policy_fallbacks default_fallbacks cache cache_params turn_off_message_logging
		redact_user_api_key_info redact_messages_in_exceptions langfuse_default_tags s3_callback_params
		datadog_params set_verbose json_logs max_budget budget_duration rpm tpm max_internal_user_budget
		default_max_internal_user_budget internal_user_budget_duration default_internal_user_params
		max_end_user_budget max_end_user_budget_id default_key_generate_params upperbound_key_generate_params
		key_generation_settings default_team_settings default_team_params model_alias_map model_group_settings
		disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only
		enable_end_user_cost_tracking_prometheus_only custom_prometheus_metadata_labels custom_prometheus_tags
		prometheus_metrics_config prometheus_initialize_budget_metrics require_auth_for_metrics_endpoint
		forward_traceparent_to_llm_provider ssl_verify ssl_certificate force_ipv4 enable_json_schema_validation
		enable_preview_features telemetry enable_key_alias_format_validation global_disable_no_log_param
		tag_budget_config priority_reservation priority_reservation_settings custom_provider_map
		post_call_rules guardrails mcp_aliases timezone store_audit_logs budget_mode`)

	knownRouter = words(`routing_strategy routing_strategy_args model_group_alias fallbacks
		context_window_fallbacks content_policy_fallbacks default_fallbacks max_fallbacks num_retries
		retry_policy model_group_retry_policy retry_after timeout stream_timeout allowed_fails
		allowed_fails_policy cooldown_time disable_cooldowns enable_pre_call_checks enable_pre_call_check
		optional_pre_call_checks enable_tag_filtering tag_filtering_match_any provider_budget_config
		redis_host redis_port redis_password redis_url redis_db redis_username redis_ssl cache_kwargs cache_responses
		caching_groups client_ttl default_litellm_params default_max_parallel_requests default_priority
		polling_interval debug_level set_verbose ignore_invalid_deployments alerting_config assistants_config`)

	knownGeneral = words(`master_key database_url database_connection_pool_limit database_connection_timeout
		store_model_in_db store_prompts_in_spend_logs disable_spend_logs disable_spend_updates
		disable_error_logs maximum_spend_logs_retention_period maximum_spend_logs_retention_interval
		proxy_batch_write_at proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time
		max_parallel_requests global_max_parallel_requests background_health_checks health_check_interval
		health_check_details use_shared_health_check alerting alerting_threshold alert_types
		alert_to_webhook_url alerting_args spend_report_frequency allow_requests_on_db_unavailable
		user_api_key_cache_ttl litellm_key_header_name completion_model embedding_model
		image_generation_model moderation_model pass_through_endpoints enforce_user_param enforced_params
		reject_clientside_metadata_tags allowed_routes public_routes admin_only_routes allowed_ips
		use_x_forwarded_for max_request_size_mb max_response_size_mb forward_client_headers_to_llm_api
		forward_openai_org_id ui_access_mode disable_master_key_return
		disable_adding_master_key_hash_to_db default_team_disabled user_header_name user_header_mappings
		enable_jwt_auth litellm_jwtauth enable_oauth2_auth custom_auth custom_sso custom_key_generate
		key_management_system key_management_settings supported_db_objects role_permissions
		user_mcp_management_mode allow_client_side_credentials infer_model_from_keys
		service_account_settings litellm_license disable_prisma_schema_update always_include_stream_usage
		token_rate_limit_type use_redis_transaction_buffer`)

	knownEntry = words(`model_name litellm_params model_info tpm rpm`)

	// knownTollgate are the dotted names of our own settings.
	knownTollgate = words(`ledger.sync ledger.keep ledger.keep_rollups spend_logs.keep_bodies compat.errors unpriced budget.mode budget.wait_max budget.unbounded
		limits.tpm_count limits.partition spend_logs.user_column mock_without_key drain_upstream prices.file
		providers max_request_bytes max_response_bytes idempotency.max_answer_bytes raft.prefer_region
		raft.voters raft.profile raft.auto_upgrade_after stale_after ledger.replicate
		cache.scope cache.max_items cache.max_bytes`)

	// controlParams are the litellm_params that steer the gateway; a key near
	// one of them is probably a slip.
	controlParams = words(`model api_key api_base base_url api_version organization rpm tpm weight order timeout
		stream_timeout max_parallel_requests num_retries max_retries cooldown_time custom_llm_provider
		extra_headers headers extra_body drop_params additional_drop_params allowed_openai_params tags
		region_name litellm_credential_name input_cost_per_token output_cost_per_token base_model
		mock_response max_tokens temperature allow_private`)

	sectionNames = []struct {
		path  string
		known []string
	}{
		{"general_settings", knownGeneral},
		{"router_settings", knownRouter},
		{"litellm_settings", knownLiteLLM},
		{"tollgate_settings", knownTollgate},
	}

	strategies = words(`simple-shuffle least-busy usage-based-routing usage-based-routing-v2
		latency-based-routing cost-based-routing`)

	// callbackNames are what LiteLLM calls; only to tell a slip from a name.
	callbackNames = words(`prometheus langfuse langfuse_otel langsmith otel s3 s3_v2 gcs_bucket gcs_pubsub
		datadog datadog_llm_observability sentry slack supabase helicone lunary arize arize_phoenix
		generic_api athena athina opik mlflow posthog braintrust logfire traceloop dynamodb sqs
		azure_storage email smtp_email resend_email promptlayer wandb galileo literalai humanloop
		argilla deepeval pagerduty vector_store_pre_call_hook dynamic_rate_limiter
		dynamic_rate_limiter_v3 prompt_injection_detection anthropic_cache_control_hook agentops
		weave_otel cloudzero bitbucket gitlab levo focus max_budget_limiter parallel_request_limiter
		lago openmeter greenscale langtrace`)
)

func words(s string) []string { return strings.Fields(s) }
