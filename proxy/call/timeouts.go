package call

import (
	"time"

	"tollgate/config/state"
	"tollgate/proxy/upstream"
)

// defaultTimeout is LiteLLM's request_timeout where nobody says anything.
const defaultTimeout = 6000 * time.Second

// timeouts of one attempt: how long the provider may stay silent, of a stream,
// or take for all, of another call. A stream may besides have an end.
func (c *call) timeouts(d *state.Deployment) upstream.Options {
	t := c.patienceOf(d, c.req.timeout, c.req.streamTimeout)
	if !c.req.stream {
		return upstream.Options{Deadline: c.sentAt.Add(t)}
	}
	o := upstream.Options{FirstByte: t, Idle: t}
	if most := seconds64(c.snap.Routing.Config.LiteLLM.MaxStreaming); most > 0 {
		o.Deadline = c.sentAt.Add(most)
	}
	return o
}

// patience is how long a deployment may take by the operator's word alone.
func (c *call) patience(d *state.Deployment) time.Duration { return c.patienceOf(d, 0, 0) }

// patienceOf is how long a deployment may take, in LiteLLM's order: what is said
// of streams, by the call, the deployment and the router, then what is said of
// any call, by the same three, then the settings.
func (c *call) patienceOf(d *state.Deployment, asked, askedOfStream time.Duration) time.Duration {
	r := c.snap.Routing.Config
	if c.req.stream {
		if t := firstPositive(askedOfStream, d.StreamTimeout, seconds64(r.Router.StreamTimeout)); t > 0 {
			return t
		}
	}
	return firstPositive(asked, d.Timeout, seconds64(r.Router.Timeout), seconds64(r.LiteLLM.RequestTimeout), defaultTimeout)
}

func firstPositive(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}

func seconds64(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
