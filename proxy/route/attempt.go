package route

import (
	"time"

	"tollgate/config/state"
)

// Attempt is one deployment that a call has tried, for what is told of the call
// afterwards: headers, log line, metrics, the entry in the ledger.
type Attempt struct {
	Deployment *state.Deployment
	Group      string // the model name under which it was found
	Reason     string // why it was tried: one of the reasons below; "" is the first choice
	Class      string // of the error it ended with; "" for an answer
	Status     int    // that the provider sent; 0 when it sent none
	Start      time.Time
	Took       time.Duration // to the whole answer, the first bytes of a stream, or the error
	Wait       time.Duration // before it
}

// Why a deployment is tried that is not the first choice. One that stands
// outside the node's region has ReasonSpill and why, such as "spill_over:cooling".
const (
	ReasonRetry   = "retry"
	ReasonOrder   = "order" // all deployments of a lower order have failed
	ReasonGeneral = "fallback"
	ReasonContext = "context_window_fallback"
	ReasonContent = "content_policy_fallback"
	ReasonSpill   = "spill_over:"
)
