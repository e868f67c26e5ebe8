package state

import (
	"bytes"
	"strings"
)

// EnforcesRates reports whether rpm and tpm of deployments are limits. Otherwise
// they only weigh the choice among deployments: LiteLLM's default, on which
// configurations with small figures rely.
func (r *Routing) EnforcesRates() bool {
	s := &r.Config.Router
	switch {
	case s.PreCallChecks, strings.HasPrefix(s.Strategy, "usage-based"), strings.HasPrefix(s.Strategy, "latency-based"), strings.HasPrefix(s.Strategy, "cost-based"):
		return true
	}
	return bytes.Contains(s.Raw["optional_pre_call_checks"], []byte(`"enforce_model_rate_limits"`))
}
