package route

import (
	"cmp"
	"slices"
	"time"

	"tollgate/config/state"
	"tollgate/proxy/provider"
)

// LiteLLM's waits between attempts.
const (
	firstDelay   = 500 * time.Millisecond
	longestDelay = 8 * time.Second
	jitter       = 750 * time.Millisecond
	longestAsked = time.Minute // the longest Retry-After that is waited for
)

// again decides whether the group is asked once more after f, and how long to
// wait before.
func (w *Walk) again(l *level, f *provider.Error) bool {
	if l.retries >= w.retries(l, f) || !w.judge(l) {
		return false
	}
	other := w.fresh()
	switch f.Class {
	case provider.Authentication, provider.PermissionDenied:
		if !other { // the same key is refused again
			return false
		}
	case provider.Conflict:
		if l.retries > 0 {
			return false
		}
	}
	if f.Permanent && !other {
		return false
	}
	l.retries++
	wait := time.Duration(0)
	if !other {
		wait = w.delay(f, l.waits)
		l.waits++
	}
	reason := ReasonRetry
	if w.higher(l) {
		reason = ReasonOrder
	}
	w.turn(reason, wait)
	return true
}

// higher reports whether all that is left stands behind the last choice's order.
func (w *Walk) higher(l *level) bool {
	return !slices.ContainsFunc(w.pool, func(o option) bool { return o.out == in && order(o.Deployment) <= l.lastOrder })
}

// retries is how often a group is asked again after a failure like f.
func (w *Walk) retries(l *level, f *provider.Error) int {
	switch f.Class {
	case provider.NotFound, provider.ContextWindow:
		return 0
	case provider.ContentPolicy:
		if _, set := listOf(w.s, w.q, content, l.name, l.picked); set {
			return 0
		}
	}
	if n, ok := policy(w.s, l.name, l.picked, f.Class); ok {
		return n
	}
	if final(f.Class) || f.Class == provider.ContentPolicy {
		return 0
	}
	return Retries(w.s, w.asked, w.q.Retries)
}

// Retries is how often a call that has failed at a deployment is tried again,
// where no policy speaks of its error: the deployment's word, the request's (-1:
// none), the router's, the settings'.
func Retries(s *state.Routing, d *state.Deployment, asked int) int {
	switch c := s.Config; {
	case d != nil && d.NumRetries != nil:
		return *d.NumRetries
	case asked >= 0:
		return asked
	case c.Router.NumRetries != nil:
		return *c.Router.NumRetries
	case c.LiteLLM.NumRetries != nil:
		return *c.LiteLLM.NumRetries
	}
	return defaultRetries
}

// policy looks a class up in the group's retry policy, then in that of all. An
// operator who names a class means it, also where it is not retried by itself.
func policy(s *state.Routing, group, picked string, c provider.Class) (int, bool) {
	rs := &s.Config.Router
	for _, p := range [...]map[string]int{rs.GroupRetryPolicy[group], rs.GroupRetryPolicy[picked], rs.RetryPolicy} {
		if len(p) == 0 {
			continue
		}
		for _, name := range policyNames(c) {
			if n, ok := p[name]; ok && name != "" {
				return n, true
			}
		}
		if n, ok := p["DefaultRetries"]; ok && !final(c) {
			return n, true
		}
	}
	return 0, false
}

// policyNames are the entries of a policy that speak of a class, the closest
// first.
func policyNames(c provider.Class) [2]string {
	switch c {
	case provider.BadRequest, provider.UnsupportedParams:
		return [2]string{"BadRequestErrorRetries"}
	case provider.ContentPolicy:
		return [2]string{"ContentPolicyViolationErrorRetries"}
	case provider.Authentication:
		return [2]string{"AuthenticationErrorRetries"}
	case provider.Timeout:
		return [2]string{"TimeoutErrorRetries"}
	case provider.RateLimit:
		return [2]string{"RateLimitErrorRetries"}
	case provider.ServiceUnavailable:
		return [2]string{"ServiceUnavailableErrorRetries", "InternalServerErrorRetries"}
	case provider.BadGateway:
		return [2]string{"BadGatewayErrorRetries", "InternalServerErrorRetries"}
	case provider.InternalServer, provider.APIError, provider.APIConnection:
		return [2]string{"InternalServerErrorRetries"}
	}
	return [2]string{}
}

// delay before the same deployments are asked again: what the provider asks for,
// else half a second, doubling, with jitter; never less than retry_after.
func (w *Walk) delay(f *provider.Error, waits int) time.Duration {
	r := &w.s.Config.Router
	least := seconds(r.RetryAfter)
	if f.RetryAfter > 0 && f.RetryAfter <= longestAsked {
		return max(f.RetryAfter, least)
	}
	first, longest := cmp.Or(seconds(r.RetryDelay), firstDelay), cmp.Or(seconds(r.RetryDelayMax), longestDelay)
	d := first
	for range waits {
		if d >= longest {
			break
		}
		d *= 2
	}
	return max(min(d, longest), least) + time.Duration(w.r.chance()*float64(jitter))
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
