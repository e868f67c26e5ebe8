package route

import (
	"time"

	"tollgate/config/state"
	"tollgate/proxy/provider"
)

// Health is what this node knows of how deployments have done lately, by its
// own calls and by what others tell. Methods are called on every request: they
// wait for nobody.
type Health interface {
	// Cooling reports a deployment that had better be left alone, until when, and
	// why.
	Cooling(d *state.Deployment) (until time.Time, reason string, ok bool)
	// Report tells how one attempt went.
	Report(d *state.Deployment, o Outcome)
}

// Kind is how an attempt went, as far as it says something of the deployment.
type Kind uint8

// The kinds. A provider that refuses a client's mistake has answered: OK.
const (
	OK Kind = iota
	RateLimited
	Quota // the account has no money or no right to more
	Auth
	ServerError
	Timeout
	Connect
	NotFound // the provider does not know the model
)

// String is the kind's name in logs and metrics.
func (k Kind) String() string {
	switch k {
	case OK:
		return "ok"
	case RateLimited:
		return "rate_limited"
	case Quota:
		return "quota"
	case Auth:
		return "auth"
	case ServerError:
		return "server_error"
	case Timeout:
		return "timeout"
	case Connect:
		return "connect"
	case NotFound:
		return "not_found"
	}
	return "unknown"
}

// Outcome is one attempt.
type Outcome struct {
	Kind Kind
	// Class and Status are the error's, as the client would be told; empty for OK.
	Class  provider.Class
	Status int
	// Reset is how long the provider asks to be left alone; 0: it did not say.
	Reset time.Duration
	// Latency is from the request's leaving to the whole answer, or to the
	// failure; 0 for streams, whose length is the answer's.
	Latency time.Duration
	// FirstToken is from the request's leaving to the first bytes of the answer;
	// 0 when none came.
	FirstToken time.Duration
	// Late is a stream's failure after it had been told of as OK: that does not
	// count any more.
	Late bool
	// Tokens is how many the answer has; 0 unknown.
	Tokens int64
}

// Hearsay is what Health may know besides: whether nothing but other nodes' word
// closes a deployment.
type Hearsay interface {
	Hearsay(d *state.Deployment) bool
}

// openHearsay is for a group of which all cools: what only others have found to
// fail is asked all the same. Their way there may be another, and a call refused
// on their word would fail for certain.
func (w *Walk) openHearsay() bool {
	h, ok := w.r.cfg.Health.(Hearsay)
	if !ok {
		return false
	}
	open := false
	for i := range w.pool {
		if o := &w.pool[i]; o.out == outCooling && h.Hearsay(o.Deployment) {
			o.out, o.until = in, time.Time{}
			open = true
		}
	}
	return open
}
