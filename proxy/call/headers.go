package call

import (
	"strconv"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/limiter/admit"
	"tollgate/proxy/dialect"
	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

// setID names the call in its answer.
func (c *call) setID() { c.ctx.Response.Header.Set("x-litellm-call-id", c.idText) }

// headers sets LiteLLM's response headers. A header without a value is left
// out. The cost is known only when the answer is whole.
func (c *call) headers(whole bool) {
	h := &c.ctx.Response.Header
	c.setID()
	if d := c.served.Deployment; d != nil {
		h.Set("x-litellm-model-id", d.ID)
		setIf(h.Set, "x-litellm-model-api-base", withoutQuery(d.APIBase))
		setIf(h.Set, "x-litellm-model-region", d.Region)
	}
	h.Set("x-litellm-model-group", c.req.model)
	h.Set("x-litellm-version", c.h.Version)
	if whole && c.cost.Priced {
		h.Set("x-litellm-response-cost", formatUSD(c.cost.Total.USD()))
	}
	if c.outputCap > 0 {
		h.Set("x-tollgate-max-output-tokens", strconv.FormatInt(c.outputCap, 10))
	}
	c.keyHeaders()
	c.rateHeaders()
	h.Set("x-litellm-attempted-retries", strconv.Itoa(max(c.attempts-1, 0)))
	if c.served.Fallback {
		h.Set("x-litellm-attempted-fallbacks", "1")
	} else {
		h.Set("x-litellm-attempted-fallbacks", "0")
	}
	if whole {
		total := c.endAt.Sub(c.start)
		h.Set("x-litellm-response-duration-ms", millis(total))
		if c.exchange != nil {
			h.Set("x-litellm-overhead-duration-ms", millis(total-c.firstAt.Sub(c.sentAt)))
		}
	}
}

func setIf(set func(k, v string), name, value string) {
	if value != "" && value != "None" {
		set(name, value)
	}
}

func (c *call) keyHeaders() {
	k := c.principal.Key
	if k == nil {
		return
	}
	h := &c.ctx.Response.Header
	if k.TPM != nil {
		h.Set("x-litellm-key-tpm-limit", strconv.FormatInt(*k.TPM, 10))
	}
	if k.RPM != nil {
		h.Set("x-litellm-key-rpm-limit", strconv.FormatInt(*k.RPM, 10))
	}
	if k.MaxBudget != nil {
		h.Set("x-litellm-key-max-budget", formatUSD(k.MaxBudget.USD()))
	}
	h.Set("x-litellm-key-spend", formatUSD((c.h.Ledger.SpendOf(model.Scope{Dim: model.DimKey, ID: k.Hash}) + k.SpendOffset).USD()))
}

// rateHeaders tells each limit's state: OpenAI's set from the key's own
// limits, LiteLLM's per scope.
func (c *call) rateHeaders() {
	if c.reservation == nil {
		return
	}
	h := &c.ctx.Response.Header
	var buf [8]admit.RateState
	for _, s := range c.reservation.Rates(buf[:0]) {
		scope, kind := s.Scope.Dim.String(), s.Kind.String()
		limit, left := strconv.FormatInt(s.Limit, 10), strconv.FormatInt(max(s.Remaining, 0), 10)
		h.Set("x-ratelimit-"+scope+"-limit-"+kind, limit)
		h.Set("x-ratelimit-"+scope+"-remaining-"+kind, left)
		switch {
		case s.Kind == admit.Parallel:
		case scope == "api_key" || scope == "user":
			h.Set("x-ratelimit-limit-"+kind, limit)
			h.Set("x-ratelimit-remaining-"+kind, left)
			h.Set("x-ratelimit-reset-"+kind, s.Reset.Round(time.Second).String())
		case scope == "model_per_key":
			h.Set("x-litellm-key-remaining-"+kind+"-"+headerSafe(c.req.model), left)
		}
	}
}

// headerSafe keeps a model name usable inside a header's name.
func headerSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, s)
}

// passHeaders hands the provider's own headers on, under LiteLLM's prefix, and
// its rate-limit headers as they are where the key has no limits of its own.
func (c *call) passHeaders(x *upstream.Exchange) {
	h := &c.ctx.Response.Header
	x.VisitHeaders(func(name, value []byte) {
		n := strings.ToLower(string(name))
		switch n {
		case "connection", "transfer-encoding", "content-length", "content-encoding", "set-cookie", "keep-alive", "server", "date", "content-type":
			return
		}
		h.SetBytesV("llm_provider-"+n, value)
		if strings.HasPrefix(n, "x-ratelimit-") {
			h.SetBytesV(n, value)
		}
	})
}

func withoutQuery(base string) string {
	head, _, _ := strings.Cut(base, "?")
	return head
}

func formatUSD(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', -1, 64)
}

// appendStreamError is an error frame in the client's dialect. On OpenAI routes
// nothing follows it; the stream just ends.
func (c *call) appendStreamError(dst []byte, f *provider.Error) []byte {
	d := dialect.OpenAI
	if c.op == provider.OpMessages {
		d = dialect.Anthropic
	}
	return d.AppendStreamError(dst, c.upstreamRefusal(f), c.idText)
}
