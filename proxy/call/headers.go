package call

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/admit"
	"tollgate/proxy/dialect"
	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

// setID names the call in its answer.
func (c *call) setID() { c.setText(headerCallID, c.idText) }

// setText, setInt and setUSD write one header without garbage; a header whose
// value is empty is left out.
func (c *call) setText(name []byte, value string) {
	if value == "" || value == "None" {
		return
	}
	c.scratch = append(c.scratch[:0], value...)
	c.ctx.Response.Header.SetCanonical(name, c.scratch)
}

func (c *call) setInt(name []byte, v int64) {
	c.scratch = strconv.AppendInt(c.scratch[:0], v, 10)
	c.ctx.Response.Header.SetCanonical(name, c.scratch)
}

func (c *call) setUSD(name []byte, m unit.Money) {
	c.scratch = strconv.AppendFloat(c.scratch[:0], m.USD(), 'g', -1, 64)
	c.ctx.Response.Header.SetCanonical(name, c.scratch)
}

func (c *call) setMillis(name []byte, d time.Duration) {
	c.scratch = strconv.AppendFloat(c.scratch[:0], float64(d.Microseconds())/1000, 'f', -1, 64)
	c.ctx.Response.Header.SetCanonical(name, c.scratch)
}

// headers sets LiteLLM's response headers. The cost is known only when the
// answer is whole.
func (c *call) headers(whole bool) {
	c.setID()
	if d := c.served.Deployment; d != nil {
		c.setText(headerModelID, d.ID)
		c.setText(headerAPIBase, shownBase(d.APIBase))
		c.setText(headerRegion, d.Region)
	}
	c.setText(headerVersion, c.h.Version)
	if c.cached != nil {
		c.setText(headerCacheKey, c.cached.key)
	}
	if whole && c.cost.Priced {
		c.setUSD(headerCost, c.cost.Total)
	}
	if n := c.outputLimit(); n > 0 {
		c.setInt(headerOutputCap, n)
	}
	c.keyHeaders()
	c.rateHeaders()
	c.attemptHeaders()
	if whole {
		total := c.endAt.Sub(c.start)
		c.setMillis(headerDuration, total)
		if c.exchange != nil {
			c.setMillis(headerOverhead, c.entry.Overhead)
		}
	}
}

func (c *call) keyHeaders() {
	k := c.principal.Key
	if k == nil {
		return
	}
	if k.TPM != nil {
		c.setInt(headerKeyTPM, *k.TPM)
	}
	if k.RPM != nil {
		c.setInt(headerKeyRPM, *k.RPM)
	}
	if k.MaxBudget != nil {
		c.setUSD(headerKeyBudget, *k.MaxBudget)
	}
	c.setUSD(headerKeySpend, c.keySpend(k))
}

// keySpend is what the key has spent, this call included once it is booked: in
// the window of its budget, or ever when that does not reset.
func (c *call) keySpend(k *model.Key) unit.Money {
	for i := range c.ask.Budgets {
		b := &c.ask.Budgets[i]
		if b.Scope.Dim != model.DimKey {
			continue
		}
		if spent, window, ok := c.h.Admit.Spent(b.Scope); ok {
			if window == 0 { // without end; and the budget may be younger than the key
				spent = max(spent, c.h.Ledger.SpendOf(b.Scope))
			}
			return spent.Add(b.Def.OffsetIn(window))
		}
	}
	// What a deleted key of the same text had spent may lie on other nodes.
	return max(0, c.h.Ledger.SpendOf(model.Scope{Dim: model.DimKey, ID: k.Hash}).Add(k.SpendOffset-k.SpendBase))
}

// rateHeaders tells each limit's state: OpenAI's set from the caller's own
// limits, LiteLLM's per scope.
func (c *call) rateHeaders() {
	if c.reservation == nil {
		return
	}
	var buf [8]admit.RateState
	for _, s := range c.reservation.Rates(buf[:0]) {
		left := max(s.Remaining, 0)
		c.setInt(headerScopeLimit[s.Scope.Dim][s.Kind], s.Limit)
		c.setInt(headerScopeRemains[s.Scope.Dim][s.Kind], left)
		switch {
		case s.Kind == admit.Parallel:
		case s.Scope.Dim == model.DimKey || s.Scope.Dim == model.DimUser:
			c.setInt(headerLimit[s.Kind], s.Limit)
			c.setInt(headerLimitRemains[s.Kind], left)
			c.setText(headerLimitReset[s.Kind], s.Reset.Round(time.Second).String())
		case s.Scope.Dim == model.DimModelPerKey:
			name := modelPerKeyRequests
			if s.Kind == admit.Tokens {
				name = modelPerKeyTokens
			}
			c.ctx.Response.Header.Set(name+headerSafe(c.req.model), strconv.FormatInt(left, 10))
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
		c.scratch = append(c.scratch[:0], providerPrefix...)
		for _, b := range name {
			if b >= 'A' && b <= 'Z' {
				b += 'a' - 'A'
			}
			c.scratch = append(c.scratch, b)
		}
		n := c.scratch[len(providerPrefix):]
		switch string(n) {
		case "connection", "transfer-encoding", "content-length", "content-encoding", "set-cookie", "keep-alive", "server", "date", "content-type":
			return
		}
		h.SetBytesKV(c.scratch, value)
		if bytes.HasPrefix(n, ratelimitPrefix) {
			h.SetBytesKV(n, value)
		}
	})
}

// shownBase is a provider's address without what may be secret in it: user,
// password and query.
func shownBase(base string) string {
	base, _, _ = strings.Cut(base, "?")
	scheme, rest, ok := strings.Cut(base, "://")
	host, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(host, '@')
	if !ok || at < 0 {
		return base
	}
	return scheme + "://" + rest[at+1:]
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
