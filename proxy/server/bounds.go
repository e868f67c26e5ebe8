package server

import "tollgate/config/model"

// Bounds lists what protects the process although no operator asked for it.
// There is no default limit on requests, tokens or parallel calls.
func Bounds(cfg *model.Config) map[string]any {
	return map[string]any{
		"max_request_bytes":         bodyLimitOf(cfg),
		"max_request_header_bytes":  maxHeaderBytes,
		"header_timeout_seconds":    headerTimeout.Seconds(),
		"idle_timeout_seconds":      idleTimeout.Seconds(),
		"min_body_bytes_per_second": minBodyRate,
		"json_depth":                64,
		"server_sent_event_bytes":   16 << 20,
		"requests_per_minute":       nil,
		"tokens_per_minute":         nil,
		"parallel_requests":         nil,
	}
}

func bodyLimitOf(cfg *model.Config) int {
	if n := cfg.Tollgate.MaxRequestBytes; n > 0 {
		return int(n)
	}
	if mb := cfg.General.MaxRequestSizeMB; mb > 0 {
		return int(mb * (1 << 20))
	}
	return maxBodyBytes
}
