package health

import "time"

// Policy is what the operator says of a deployment's rests. The zero value is
// LiteLLM's own rules for a deployment that has others beside it.
type Policy struct {
	// Never: it does not rest, whatever happens.
	Never bool
	// Alone: its group has no other. Then resting would help nobody, unless what
	// is wrong will not go away by itself.
	Alone bool
	// Rest is how long it rests when the provider does not say; 0: the default,
	// negative: not at all.
	Rest time.Duration
	// Fixed: Rest is the deployment's own and counts more than the provider's word.
	Fixed bool
	// Counted: it rests when more than Allowed failures have come, each within Rest
	// of the one before, instead of by the rules for kinds and shares.
	Counted bool
	Allowed int
}

const (
	// leastCalls are needed in a minute before the share of failures tells anything.
	leastCalls = 5
	// badShare of a minute's calls failed, and more: one in two.
	badShare = 2
	// totalFailure is how many calls of a minute, none of which went well, make also
	// a deployment rest that is alone.
	totalFailure = 1000
)

// closes tells whether a failure makes the deployment rest: by the minute so
// far and by how many failures have come in a row of the policy's.
func (p *Policy) closes(o Outcome, t tally) bool {
	switch {
	case p.Counted:
		return t.run > p.Allowed
	case o == Auth || o == NotFound:
		return true // no waiting cures it, so every call more is one too many
	case (o == RateLimited || o == Quota) && !p.Alone:
		return true
	}
	total := t.good + t.failed
	return t.good == 0 && total >= totalFailure ||
		!p.Alone && total >= leastCalls && uint64(t.failed)*badShare > uint64(total)
}

// lasts is for how long a deployment rests: the operator's word for it, else the
// provider's, else the operator's for all, else the default.
func (p *Policy) lasts(said, otherwise time.Duration) time.Duration {
	switch {
	case p.Fixed:
		return max(p.Rest, 0)
	case said > 0:
		return min(said, maxLife)
	case p.Rest != 0:
		return max(p.Rest, 0)
	}
	return otherwise
}

// memory is how long a failure counts among the allowed ones.
func (p *Policy) memory(otherwise time.Duration) time.Duration {
	if p.Rest > 0 {
		return p.Rest
	}
	return otherwise
}

// excuses tells whether a rest for the reason is none to the deployment: one
// that is alone is asked all the same when it is limited or on the way to it.
// hint: the region's word alone closes it.
func (p *Policy) excuses(reason Outcome, hint bool) bool {
	return p.Never || hint && p.Rest < 0 || p.Alone && !p.Counted && (reason == RateLimited || reason == Quota || hint)
}
