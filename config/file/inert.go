package file

// Settings of LiteLLM's that are read, so that its files start, and that change
// nothing here, or not all that they change there. docs/configuration.md lists
// them too, and a test holds the two together: a setting that comes to work
// leaves both.
var (
	// unenforced are those that restrict: who relies on them is told.
	unenforced = map[string][]string{
		"litellm_settings": words(`key_generation_settings redact_messages_in_exceptions priority_reservation`),
		"general_settings": words(`allowed_ips enforced_params enable_jwt_auth enable_oauth2_auth role_permissions
			service_account_settings max_parallel_requests`),
	}

	// inert are the others.
	inert = map[string][]string{
		"litellm_settings": words(`modify_params model_alias_map ssl_verify ssl_certificate forward_traceparent_to_llm_provider
			enable_json_schema_validation custom_prometheus_metadata_labels custom_prometheus_tags prometheus_metrics_config
			enable_end_user_cost_tracking_prometheus_only disable_end_user_cost_tracking`),
		"router_settings": words(`default_priority`),
		"general_settings": words(`pass_through_endpoints key_management_system
			completion_model embedding_model image_generation_model moderation_model user_header_mappings
			infer_model_from_keys spend_report_frequency`),
	}

	inertSections = words(`mcp_servers vector_store_registry search_tools prompts agent_list mcp_tools files_settings
		finetune_settings assistant_settings default_vertex_config`)
)

// withoutEffect warns of the settings of a section that change nothing. Those
// that ask for what happens anyway are left alone.
func (p *parser) withoutEffect(s *section, name string) {
	for _, field := range unenforced[name] {
		if v := s.v.get(field); asks(v) {
			p.warn(v, join(s.path, field), "accepted, but not enforced in this release", "do not rely on it")
		}
	}
	for _, field := range inert[name] {
		if v := s.v.get(field); asks(v) && !(field == "ssl_verify" && v.text == "true") {
			p.warn(v, join(s.path, field), "accepted, but without effect in this release", "calls are served all the same")
		}
	}
}

// asks reports whether a setting wants anything at all.
func asks(v *value) bool {
	return v != nil && v.kind != kindNull && v.text != "false" && v.text != "False"
}
