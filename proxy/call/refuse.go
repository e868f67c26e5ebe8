package call

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/limiter/admit"
	"tollgate/proxy/anthropic"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// budgetRefusal puts an exhausted budget into LiteLLM's words for its level.
func (c *call) budgetRefusal(no *admit.Refusal) *refusal.Refusal {
	old := c.compatOld()
	status := 429
	if old {
		status = 400
	}
	spent, limit := dollars(no.Spent.USD()), dollars(no.MaxBudget.USD())
	id := no.Scope.ID
	var msg string
	switch no.Scope.Dim {
	case model.DimUser:
		msg = "ExceededBudget: User=" + id + " over budget. Spend=" + spent + ", Budget=" + limit
	case model.DimEndUser:
		msg = "ExceededBudget: End User=" + id + " over budget. Spend=" + spent + ", Budget=" + limit
	case model.DimModelPerKey:
		hash, group, _ := strings.Cut(id, "\x1f")
		alias := "None"
		if k := c.principal.Key; k != nil && k.Alias != "" {
			alias = k.Alias
		}
		msg = "LiteLLM Virtual Key: " + hash + ", key_alias: " + alias + ", exceeded budget for model=" + group
	default:
		owner := budgetOwner(no.Scope)
		if !old && no.Scope.Dim == model.DimKey {
			owner = "Key=" + id
		}
		if owner != "" {
			owner += " "
		}
		msg = "Budget has been exceeded! " + owner + "Current cost: " + spent + ", Max budget: " + limit
	}
	if no.Reserved > 0 {
		msg += ". Reserved by calls in flight: " + dollars(no.Reserved.USD())
	}
	if no.Spent < no.MaxBudget { // else the reason is plain
		msg += ". Needed: " + dollars(no.Need.USD())
	}
	if !no.Resets.IsZero() {
		msg += ". Resets at: " + stamp(no.Resets)
	}
	r := refusal.New(status, "budget_exceeded", "", msg).Lift()
	r.Class = "BudgetExceededError"
	// Waiting does not help before the window ends: clients must not retry.
	return r.With("x-should-retry", "false")
}

// rateRefusal is LiteLLM's answer of its rate limiter, with the true time to wait.
func rateRefusal(no *admit.Refusal, now time.Time) *refusal.Refusal {
	secs := max(int(math.Ceil(no.RetryAfter.Seconds())), 1)
	resets := now.Add(no.RetryAfter)
	id := strings.ReplaceAll(no.Scope.ID, "\x1f", ":")
	// No type of its own: the older era writes "None", the newer one derives it.
	r := refusal.New(429, "", "", fmt.Sprintf(
		"Rate limit exceeded for %s: %s. Limit type: %s. Current limit: %d, Remaining: %d. Limit resets at: %s",
		no.Scope.Dim, id, no.Kind, no.Limit, no.Remaining, stamp(resets)))
	r.Class = string(provider.RateLimit)
	return r.With("retry-after", strconv.Itoa(min(secs, 60))).
		With("rate_limit_type", no.Kind.String()).With("reset_at", stamp(resets))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// dollars shows an amount as Python shows a float.
func dollars(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if a := math.Abs(f); a != 0 && a < 1e-4 {
		s = strconv.FormatFloat(f, 'e', -1, 64)
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// upstreamRefusal is the client's form of a provider's failure once the router
// has given up: LiteLLM's class in front, the group behind.
func (c *call) upstreamRefusal(f *provider.Error) *refusal.Refusal {
	e := openai.FromUpstream(c.providerOf(f), f)
	msg := e.Message + c.whatElse(f)
	status := f.Status
	if c.op == provider.OpMessages {
		status = anthropic.UpstreamStatus(f)
	}
	r := refusal.New(status, e.Type, f.Param, msg)
	r.Class = string(f.Class)
	switch f.Code {
	case "context_length_exceeded", "content_policy_violation", "model_not_found", "insufficient_quota", "unsupported_parameter":
		r.Code = f.Code // SDKs and frameworks branch on these
	}
	if f.Class == provider.ContextWindow && r.Code == "" {
		r.Code = "context_length_exceeded"
	}
	if f.RetryAfter > 0 && f.RetryAfter <= 60*time.Second {
		r = r.With("retry-after", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if f.Class == provider.Timeout {
		r = r.With("x-litellm-timeout", dollars(c.timeoutSeconds()))
	}
	// The router has retried already; the SDK's own retries would multiply.
	return r.With("x-should-retry", "false")
}

// providerOf names who has given a failure: the first deployment asked, for the
// failure that the client is told of when all have failed.
func (c *call) providerOf(f *provider.Error) string {
	d := c.served.Deployment
	if first, _ := c.way.First(); f == first && len(c.tried) > 0 {
		d = c.tried[0].Deployment
	}
	if d == nil {
		return ""
	}
	return d.Provider
}

// whatElse is what LiteLLM's router adds to a failure: the group, where it might
// have gone on, and how the last fallback failed.
func (c *call) whatElse(f *provider.Error) string {
	msg := ". Received Model Group=" + c.req.model + "\nAvailable Model Group Fallbacks=" + c.fallbackList()
	if first, _ := c.way.First(); f != first {
		return msg
	}
	if last, group := c.way.Last(); last != nil {
		msg += "\nError doing the fallback: " + openai.FromUpstream(c.providerAt(group), last).Message + ". Received Model Group=" + group
	}
	return msg
}

// providerAt names who was asked last under a group.
func (c *call) providerAt(group string) string {
	for i := len(c.tried) - 1; i >= 0; i-- {
		if c.tried[i].Group == group {
			return c.tried[i].Deployment.Provider
		}
	}
	return ""
}

func (c *call) timeoutSeconds() float64 {
	if c.served.Deployment == nil {
		return c.req.timeout.Seconds()
	}
	o := c.timeouts(c.served.Deployment)
	if o.FirstByte > 0 {
		return o.FirstByte.Seconds()
	}
	return o.Deadline.Sub(c.sentAt).Seconds()
}

func (c *call) fallbackList() string {
	names := c.way.Fallbacks()
	if names == nil {
		return "None"
	}
	return "['" + strings.Join(names, "', '") + "']"
}

func itoa(n int) string { return strconv.Itoa(n) }
