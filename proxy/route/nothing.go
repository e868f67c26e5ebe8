package route

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tollgate/proxy/provider"
)

// nothing is the failure of a group of which nothing could be asked, by what
// became of its deployments.
func (w *Walk) nothing(l *level) *provider.Error {
	var n [outSpill + 1]int
	for i := range w.pool {
		n[w.pool[i].out]++
	}
	switch {
	case len(w.pool) == 0:
		return provider.NewError(provider.BadRequest, "there is no deployment with model_name="+l.name)
	case n[outFull] > 0 && w.q.Caller != nil:
		return w.q.Caller.NoRoom()
	case n[outCooling] > 0:
		return w.allCooling(l)
	case n[outLimit] > 0:
		return w.allOver(l)
	case n[outContext] > 0:
		return provider.NewError(provider.ContextWindow, "The input has about "+strconv.FormatInt(w.q.Tokens, 10)+
			" tokens, more than any deployment of model="+l.name+" takes (enable_pre_call_checks).")
	case n[outSchema] > 0:
		return provider.NewError(provider.UnsupportedParams, "No deployment of model="+l.name+
			" is known to support response_format (enable_pre_call_checks). Set drop_params: true to leave it out.")
	case n[outTags] > 0:
		f := provider.NewError(provider.Authentication, "Not allowed to access model due to tags configuration. Passed model="+
			l.name+" and tags=["+strings.Join(w.q.Tags, ", ")+"]")
		return f
	case n[outRegion] > 0:
		return provider.NewError(provider.PermissionDenied, "No deployment of model="+l.name+" stands in a region that the caller's data may go to ("+
			strings.Join(w.q.Regions, ", ")+"); a deployment without a region counts as outside.")
	}
	return provider.NewError(provider.InternalServer, "all deployments of model="+l.name+" have failed this request")
}

// noneAvailable begins LiteLLM's message; clients look for it.
const noneAvailable = "No deployments available for selected model"

func (w *Walk) allCooling(l *level) *provider.Error {
	now := w.r.cfg.Clock.Now()
	wait := time.Duration(math.MaxInt64)
	var ids strings.Builder
	for i := range w.pool {
		if o := &w.pool[i]; o.out == outCooling {
			wait = min(wait, o.until.Sub(now))
			if ids.Len() > 0 {
				ids.WriteString(", ")
			}
			ids.WriteString("'" + o.Deployment.ID + "'")
		}
	}
	secs := max(int(math.Ceil(wait.Seconds())), 1)
	checks := "False"
	if w.set.checks {
		checks = "True"
	}
	f := provider.NewError(provider.RateLimit, fmt.Sprintf("%s, Try again in %d seconds. Passed model=%s. pre-call-checks=%s, cooldown_list=[%s]",
		noneAvailable, secs, l.name, checks, ids.String()))
	f.RetryAfter = min(time.Duration(secs)*time.Second, longestAsked)
	return f
}

// allOver tells who has been sent what it may be sent this minute.
func (w *Walk) allOver(l *level) *provider.Error {
	now := w.r.cfg.Clock.Now()
	secs := max(60-now.Second(), 1)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, Try again in %d seconds. Passed model=%s. Deployments over their limits this minute: ", noneAvailable, secs, l.name)
	limit := func(v *int64) string {
		if v == nil {
			return "none"
		}
		return strconv.FormatInt(*v, 10)
	}
	sep := ""
	for i := range w.pool {
		if o := &w.pool[i]; o.out == outLimit {
			requests, tokens := w.r.usage(o.Deployment.ID, now)
			fmt.Fprintf(&b, "%s%s rpm=%d of %s, tpm=%d of %s", sep, o.Deployment.ID, requests, limit(o.Deployment.RPM), tokens, limit(o.Deployment.TPM))
			sep = "; "
		}
	}
	f := provider.NewError(provider.RateLimit, b.String())
	f.RetryAfter = time.Duration(secs) * time.Second
	return f
}
