package route

import (
	"encoding/json"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
)

// Strategy is how one of several deployments is picked.
type Strategy uint8

// The strategies, by LiteLLM's names.
const (
	SimpleShuffle Strategy = iota
	LeastBusy
	UsageBased // v1 and v2 differ only in how LiteLLM counts
	LatencyBased
	CostBased
)

// StrategyOf reads a routing_strategy; false: there is none of that name.
func StrategyOf(name string) (Strategy, bool) {
	switch name {
	case "", "simple-shuffle":
		return SimpleShuffle, true
	case "least-busy":
		return LeastBusy, true
	case "usage-based-routing", "usage-based-routing-v2":
		return UsageBased, true
	case "latency-based-routing":
		return LatencyBased, true
	case "cost-based-routing":
		return CostBased, true
	}
	return SimpleShuffle, false
}

// settings is what a configuration says of routing, read once.
type settings struct {
	of           *state.Routing
	strategy     Strategy
	ttl          time.Duration
	buffer       float64
	samples      int
	maxFallbacks int
	fallbacks    bool // there are any
	cooldowns    bool
	checks       bool
}

// Bounds and defaults of LiteLLM's.
const (
	defaultMaxFallbacks = 5
	defaultRetries      = 2
	defaultLatencyTTL   = time.Hour
	defaultSamples      = 10
	mostSamples         = 100
)

func (r *Router) settingsOf(s *state.Routing) *settings {
	if have := r.settings.Load(); have != nil && have.of == s {
		return have
	}
	rs := &s.Config.Router
	set := &settings{of: s, ttl: defaultLatencyTTL, samples: defaultSamples, maxFallbacks: defaultMaxFallbacks,
		cooldowns: !rs.DisableCooldowns, checks: rs.PreCallChecks}
	set.strategy, _ = StrategyOf(rs.Strategy)
	if rs.MaxFallbacks != nil {
		set.maxFallbacks = *rs.MaxFallbacks
	}
	for _, m := range []map[string][]string{rs.Fallbacks, rs.ContextFallbacks, rs.ContentFallbacks,
		s.Config.LiteLLM.Fallbacks, s.Config.LiteLLM.ContextFallbacks, s.Config.LiteLLM.ContentFallbacks} {
		set.fallbacks = set.fallbacks || len(m) > 0
	}
	set.args(rs)
	r.settings.Store(set)
	r.forget(s)
	return set
}

// args reads routing_strategy_args; what does not fit was reported at loading.
func (set *settings) args(rs *model.RouterSettings) {
	var args struct {
		TTL     *float64 `json:"ttl"`
		Buffer  *float64 `json:"lowest_latency_buffer"`
		Samples *int     `json:"max_latency_list_size"`
	}
	if len(rs.StrategyArgs) == 0 || json.Unmarshal(rs.StrategyArgs, &args) != nil {
		return
	}
	if args.TTL != nil && *args.TTL > 0 {
		set.ttl = time.Duration(*args.TTL * float64(time.Second))
	}
	if args.Buffer != nil && *args.Buffer > 0 {
		set.buffer = *args.Buffer
	}
	if args.Samples != nil && *args.Samples > 0 {
		set.samples = min(*args.Samples, mostSamples)
	}
}

// counts reports whether the strategy looks at what deployments have been sent.
func (set *settings) counts() bool { return set.strategy != SimpleShuffle }
