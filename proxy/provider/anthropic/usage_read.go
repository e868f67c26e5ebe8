package anthropic

import (
	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
)

// usageOf reads a usage object into the canonical record: input_tokens leaves
// cached tokens out, thinking is part of the output.
func usageOf(raw []byte) price.Usage {
	var u price.Usage
	if !isObject(raw) {
		return u
	}
	count := func(from []byte, key string) int64 {
		n, _ := jsonscan.Int(member(from, key))
		return max(n, 0)
	}
	u.Known = true
	u.InUncached = count(raw, "input_tokens")
	u.CacheRead = count(raw, "cache_read_input_tokens")
	written, split := count(raw, "cache_creation_input_tokens"), member(raw, "cache_creation")
	u.CacheWrite1h = count(split, "ephemeral_1h_input_tokens")
	u.CacheWrite5m = max(count(split, "ephemeral_5m_input_tokens"), written-u.CacheWrite1h)
	u.OutTotal = count(raw, "output_tokens")
	u.OutReasoning = min(count(member(raw, "output_tokens_details"), "thinking_tokens"), u.OutTotal)
	u.WebSearches = count(member(raw, "server_tool_use"), "web_search_requests")
	u.ServiceTier, u.Speed, u.Geo = text(raw, "service_tier"), text(raw, "speed"), text(raw, "inference_geo")
	return u
}
