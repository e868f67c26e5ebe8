package call

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// keptAttempts is how many attempts an entry tells: the last ones. A request may
// name many fallbacks, each with retries of its own.
const keptAttempts = 24

// fellBack reports whether an attempt was the first of a fallback.
func fellBack(a *route.Attempt) bool {
	switch a.Reason {
	case route.ReasonGeneral, route.ReasonContext, route.ReasonContent:
		return true
	}
	return false
}

// fallbacksTried is how many fallbacks were asked.
func (c *call) fallbacksTried() int {
	n := 0
	for i := range c.tried {
		if fellBack(&c.tried[i]) {
			n++
		}
	}
	return n
}

// retriesMade is how often a group was asked again.
func (c *call) retriesMade() int { return max(0, len(c.tried)-1-c.fallbacksTried()) }

// servedGroup is the group that a call is told to have come to: the one asked
// for, or the fallback that was asked last.
func (c *call) servedGroup() string {
	if c.served.Fallback {
		return c.served.Group
	}
	return c.req.model
}

// straight reports the usual call: one attempt, at the deployment that came first.
func (c *call) straight() bool {
	return len(c.tried) == 0 || len(c.tried) == 1 && c.tried[0].Reason == ""
}

// attemptsOf is what the entry tells of the call's attempts. The last one may
// still be under way for the router when the call is booked.
func (c *call) attemptsOf(o *outcome, now time.Time) []store.Attempt {
	if c.straight() {
		return nil
	}
	tried := c.tried[max(0, len(c.tried)-keptAttempts):]
	out := make([]store.Attempt, len(tried))
	for i := range tried {
		t := &tried[i]
		d := t.Deployment
		a := &out[i]
		*a = store.Attempt{Group: t.Group, ModelID: d.ID, Model: d.FullModel, Provider: d.Provider, Region: d.Region, Reason: t.Reason,
			Class: t.Class, Status: t.Status, After: max(t.Start.Sub(c.start), 0), Wait: t.Wait, Took: t.Took}
		if i < len(tried)-1 {
			continue
		}
		if a.Took == 0 {
			a.Took = now.Sub(t.Start)
		}
		if a.Class == "" && o.fault != nil {
			a.Class, a.Status = string(o.fault.Class), o.fault.Upstream // a stream that broke
		}
	}
	return out
}

// attemptHeaders tell how the call came to its answer, or to none.
func (c *call) attemptHeaders() {
	c.setText(headerModelGroup, c.servedGroup())
	c.setInt(headerRetries, int64(c.retriesMade()))
	c.setInt(headerFallbacks, int64(c.fallbacksTried()))
	c.setInt(headerMaxRetries, int64(c.retries(c.served.Deployment)))
}

// failureHeaders are those of an answer that is a refusal, after deployments were
// asked.
func (c *call) failureHeaders() {
	if len(c.tried) == 0 {
		return
	}
	c.attemptHeaders()
	c.setText(headerModelID, c.tried[len(c.tried)-1].Deployment.ID)
}

// logAttempts writes a line for a call that needed more than one attempt.
func (c *call) logAttempts(o *outcome, now time.Time) {
	if len(c.tried) < 2 || !c.h.Logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	var line []byte
	for i := range c.tried {
		line = appendAttempt(line, &c.tried[i], i)
	}
	status := 200
	if o.fault != nil {
		status = o.fault.Status
	}
	c.h.Logger.LogAttrs(context.Background(), slog.LevelInfo, "call needed several attempts", slog.String("call_id", c.idText),
		slog.String("model", c.req.model), slog.String("served", c.servedGroup()), slog.Int("status", status),
		slog.Int("retries", c.retriesMade()), slog.Int("fallbacks", c.fallbacksTried()), slog.Duration("took", now.Sub(c.start)),
		slog.String("attempts", string(line)))
}

// appendAttempt is one attempt in words: which deployment, why, and what came of
// it.
func appendAttempt(b []byte, a *route.Attempt, i int) []byte {
	if i > 0 {
		b = append(b, "; "...)
	}
	b = append(append(append(b, a.Deployment.FullModel...), " ("...), a.Deployment.ID...)
	b = append(b, ')')
	if a.Reason != "" {
		b = append(append(b, ' '), a.Reason...)
	}
	if a.Wait > 0 {
		b = append(append(b, " after "...), a.Wait.Round(time.Millisecond).String()...)
	}
	b = append(b, ": "...)
	switch {
	case a.Class == "":
		return append(b, "answered"...)
	case a.Status != 0:
		b = strconv.AppendInt(b, int64(a.Status), 10)
		b = append(b, ' ')
	}
	return append(b, a.Class...)
}

// exceptionStatus is the status that a class of failure has for clients.
func exceptionStatus(class string) int { return provider.NewError(provider.Class(class), "").Status }
