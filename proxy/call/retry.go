package call

import (
	"math/rand/v2"
	"time"

	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// try is one attempt of the plan.
type try struct {
	candidate route.Candidate
	last      bool // no other attempt follows
}

// tries walks the plan: the group's candidates in turn as often as retries
// allow, then each fallback once. It waits only where a deployment that has
// just failed is asked again, and passes over those whose lanes are full.
func (c *call) tries() func(yield func(try) bool) {
	return func(yield func(try) bool) {
		own := c.plan.Candidates
		for i := range own {
			if own[i].Fallback {
				own = own[:i]
				break
			}
		}
		total := len(c.plan.Candidates) - len(own)
		if len(own) > 0 {
			total += c.retries(own[0].Deployment) + 1
		}
		n := 0
		emit := func(cand route.Candidate) bool {
			n++
			return yield(try{candidate: cand, last: n == total})
		}
		if len(own) > 0 {
			for i := range c.retries(own[0].Deployment) + 1 {
				var wait time.Duration
				if i >= len(own) {
					wait = backoff(i - len(own))
				}
				if wait > 0 && !c.pause(wait) {
					return
				}
				cand, ok := c.nextLane(own, i)
				if !ok {
					break
				}
				if !emit(cand) {
					return
				}
			}
		}
		for i, cand := range c.plan.Candidates[len(own):] {
			if c.claim(cand, i == len(c.plan.Candidates)-len(own)-1) && !emit(cand) {
				return
			}
		}
	}
}

// nextLane claims the candidate whose turn it is, or the next with room.
func (c *call) nextLane(own []route.Candidate, i int) (route.Candidate, bool) {
	for k := range own {
		if cand := own[(i+k)%len(own)]; c.claim(cand, len(c.plan.Candidates) == 1) {
			return cand, true
		}
	}
	return route.Candidate{}, false
}

// backoff is LiteLLM's: half a second doubling to eight, with jitter.
func backoff(n int) time.Duration {
	d := min(500*time.Millisecond<<min(n, 4), 8*time.Second)
	return d + time.Duration(rand.Int64N(int64(750*time.Millisecond)))
}

// pause waits between attempts, in steps so that a leaving client ends it.
func (c *call) pause(d time.Duration) bool {
	c.elsewhere += d
	select {
	case <-time.After(d):
	case <-c.gone:
	}
	return !c.canceled.Load()
}

func (c *call) retries(d *state.Deployment) int {
	r := c.snap.Routing.Config
	for _, v := range []*int{d.NumRetries, intOr(c.req.numRetries), r.Router.NumRetries, r.LiteLLM.NumRetries} {
		if v != nil {
			return *v
		}
	}
	return 2
}

func intOr(v int) *int {
	if v < 0 {
		return nil
	}
	return &v
}

// again reports whether another attempt may follow this fault.
func (c *call) again(f *provider.Error, t try) bool {
	if t.last || f.Permanent && len(c.plan.Candidates) == 1 {
		return false
	}
	switch f.Class {
	case provider.BadRequest, provider.UnsupportedParams, provider.UnprocessableEntity, provider.ContextWindow, provider.ContentPolicy:
		return false
	case provider.Authentication, provider.NotFound, provider.PermissionDenied:
		return len(c.plan.Candidates) > 1
	}
	return true
}
