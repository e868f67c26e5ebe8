package payload

import (
	"time"

	"tollgate/ledger/store"
)

// attempt is one deployment that a call was tried on, with times in milliseconds.
type attempt struct {
	Group    string  `json:"model_group"`
	ID       string  `json:"model_id,omitempty"`
	Model    string  `json:"model"`
	Provider string  `json:"provider,omitempty"`
	Region   string  `json:"region,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Error    string  `json:"error,omitempty"`
	Status   int     `json:"status,omitempty"`
	AfterMs  float64 `json:"after_ms"`
	WaitMs   float64 `json:"wait_ms,omitempty"`
	TookMs   float64 `json:"took_ms"`
}

func attempts(e *store.Entry) []attempt {
	var out []attempt
	for _, a := range e.Tried {
		out = append(out, attempt{Group: a.Group, ID: a.ModelID, Model: a.Model, Provider: a.Provider, Region: a.Region,
			Reason: a.Reason, Error: a.Class, Status: a.Status, AfterMs: millis(a.After), WaitMs: millis(a.Wait), TookMs: millis(a.Took)})
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// attemptKey is a name that stands for what the gateway did, also where it is
// left out.
func attemptKey(k string) bool {
	switch k {
	case "attempted_retries", "attempted_fallbacks", "model_group", "tollgate_attempts":
		return true
	}
	return false
}
