package anthropic

import (
	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
)

// mergeUsage lays a later usage object over an earlier one: counts are
// cumulative, so what is stated last holds and null says nothing.
func mergeUsage(earlier, later []byte) []byte {
	if !jsonscan.IsObject(later) {
		return earlier
	}
	var o jsonscan.Object
	if len(earlier) == 0 || o.ParseTop(earlier) != nil {
		return append([]byte(nil), later...)
	}
	var edits []jsonscan.Edit
	for it := jsonscan.Walk(later); ; {
		k, v, ok := it.Member()
		if !ok {
			break
		}
		if !jsonscan.IsNull(v) {
			edits = append(edits, jsonscan.Edit{Key: string(jsonscan.Name(k)), Value: v})
		}
	}
	return o.Rewrite(nil, edits, nil)
}

// appendChatUsage writes the record as OpenAI's usage object. The prompt
// holds cached tokens there; the two fields at the end are LiteLLM's.
func appendChatUsage(dst []byte, u *price.Usage) []byte {
	written := u.CacheWrite5m + u.CacheWrite1h
	dst = append(dst, '{')
	dst = jsonscan.AppendInt(dst, "prompt_tokens", u.Prompt())
	dst = jsonscan.AppendInt(dst, "completion_tokens", u.OutTotal)
	dst = jsonscan.AppendInt(dst, "total_tokens", u.Total())
	dst = append(jsonscan.AppendKey(dst, "prompt_tokens_details"), '{')
	dst = jsonscan.AppendInt(dst, "cached_tokens", u.CacheRead)
	dst = jsonscan.AppendInt(dst, "cache_write_tokens", written)
	dst = append(jsonscan.AppendInt(dst, "cache_creation_tokens", written), '}')
	if u.OutReasoning > 0 {
		dst = append(jsonscan.AppendKey(dst, "completion_tokens_details"), '{')
		dst = append(jsonscan.AppendInt(dst, "reasoning_tokens", u.OutReasoning), '}')
	}
	dst = jsonscan.AppendInt(dst, "cache_creation_input_tokens", written)
	dst = jsonscan.AppendInt(dst, "cache_read_input_tokens", u.CacheRead)
	if u.WebSearches > 0 {
		dst = append(jsonscan.AppendKey(dst, "server_tool_use"), '{')
		dst = append(jsonscan.AppendInt(dst, "web_search_requests", u.WebSearches), '}')
	}
	return append(dst, '}')
}

// appendNativeUsage writes the record as a message_delta's usage.
func appendNativeUsage(dst []byte, u *price.Usage) []byte {
	dst = append(dst, '{')
	dst = jsonscan.AppendInt(dst, "input_tokens", u.InUncached)
	dst = jsonscan.AppendInt(dst, "cache_creation_input_tokens", u.CacheWrite5m+u.CacheWrite1h)
	dst = jsonscan.AppendInt(dst, "cache_read_input_tokens", u.CacheRead)
	return append(jsonscan.AppendInt(dst, "output_tokens", u.OutTotal), '}')
}

// bytesPerToken turns output that nobody has counted into an estimate.
const bytesPerToken = 4

// estimateOutput raises the count to what was seen, for a stream that is cut
// before the provider has said how much it wrote.
func estimateOutput(u *price.Usage, bytes int64) {
	if n := (bytes + bytesPerToken - 1) / bytesPerToken; n > u.OutTotal {
		u.OutTotal, u.Estimated = n, true
	}
}

// tierName is the tier in OpenAI's words.
func tierName(tier string) string {
	if tier == "standard" {
		return "default"
	}
	return tier
}
