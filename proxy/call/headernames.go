package call

import (
	"tollgate/config/model"
	"tollgate/limiter/admit"
)

// Header names in canonical form, so that setting one costs no normalising.
var (
	headerCallID         = []byte("X-Litellm-Call-Id")
	headerModelID        = []byte("X-Litellm-Model-Id")
	headerAPIBase        = []byte("X-Litellm-Model-Api-Base")
	headerRegion         = []byte("X-Litellm-Model-Region")
	headerModelGroup     = []byte("X-Litellm-Model-Group")
	headerVersion        = []byte("X-Litellm-Version")
	headerCacheKey       = []byte("X-Litellm-Cache-Key")
	headerCost           = []byte("X-Litellm-Response-Cost")
	headerOutputCap      = []byte("X-Tollgate-Max-Output-Tokens")
	headerKeyTPM         = []byte("X-Litellm-Key-Tpm-Limit")
	headerKeyRPM         = []byte("X-Litellm-Key-Rpm-Limit")
	headerKeyBudget      = []byte("X-Litellm-Key-Max-Budget")
	headerKeySpend       = []byte("X-Litellm-Key-Spend")
	headerRetries        = []byte("X-Litellm-Attempted-Retries")
	headerFallbacks      = []byte("X-Litellm-Attempted-Fallbacks")
	headerMaxRetries     = []byte("X-Litellm-Max-Retries")
	headerDuration       = []byte("X-Litellm-Response-Duration-Ms")
	headerOverhead       = []byte("X-Litellm-Overhead-Duration-Ms")
	headerCacheControl   = []byte("Cache-Control")
	headerBuffering      = []byte("X-Accel-Buffering")
	headerLimitReset     = [...][]byte{admit.Requests: []byte("X-Ratelimit-Reset-Requests"), admit.Tokens: []byte("X-Ratelimit-Reset-Tokens")}
	headerLimit          = [...][]byte{admit.Requests: []byte("X-Ratelimit-Limit-Requests"), admit.Tokens: []byte("X-Ratelimit-Limit-Tokens")}
	headerLimitRemains   = [...][]byte{admit.Requests: []byte("X-Ratelimit-Remaining-Requests"), admit.Tokens: []byte("X-Ratelimit-Remaining-Tokens")}
	headerScopeLimit     = scopeHeaders("limit")
	headerScopeRemains   = scopeHeaders("remaining")
	headerReplay         = []byte("X-Tollgate-Idempotent-Replay")
	headerKeyScope       = []byte("X-Tollgate-Idempotency-Scope")
	headerIdempotencyKey = []byte("Idempotency-Key")
	noCache, no          = []byte("no-cache"), []byte("no")
	yes                  = []byte("true")
	zero                 = []byte("0")
	onNode               = []byte("node")
	providerPrefix       = []byte("llm_provider-")
	ratelimitPrefix      = []byte("x-ratelimit-")
	modelPerKeyRequests  = "x-litellm-key-remaining-requests-"
	modelPerKeyTokens    = "x-litellm-key-remaining-tokens-"
)

// scopeHeaders are the names x-ratelimit-{scope}-{what}-{kind} of every level
// and kind.
func scopeHeaders(what string) (t [model.DimLast + 1][admit.Parallel + 1][]byte) {
	for d := model.DimKey; d <= model.DimLast; d++ {
		for _, k := range []admit.Kind{admit.Requests, admit.Tokens, admit.Parallel} {
			t[d][k] = []byte("X-Ratelimit-" + canonical(d.String()) + "-" + canonical(what) + "-" + canonical(k.String()))
		}
	}
	return t
}

// canonical is how fasthttp writes a part of a header name: first letter up,
// after a dash again; an underscore is a letter.
func canonical(s string) string {
	b := []byte(s)
	b[0] -= 'a' - 'A'
	return string(b)
}
