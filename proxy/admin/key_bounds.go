package admin

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/unit"
	"tollgate/proxy/refusal"
)

// fill takes what a request leaves open from an object of defaults: absent,
// null and empty count as open, as they do upstream.
func (f *form) fill(object []byte) {
	defaults := map[string]jsontext.Value{}
	if len(object) == 0 || json.Unmarshal(object, &defaults) != nil {
		return
	}
	for name, v := range defaults {
		if have, given := f.raw[name]; !given || slices.Contains([]string{"null", "[]", "{}", `""`}, string(have)) {
			f.raw[name] = v
		}
	}
}

// upperBounds holds a key request against
// litellm_settings.upperbound_key_generate_params. With fill set, what is open
// takes the bound: a key without a limit would be above every bound.
func (c *call) upperBounds(x *keyFields, fill bool) *refusal.Refusal {
	f, err := parseForm(c.settings().LiteLLM.UpperboundKeyParams)
	if err != nil || len(f.raw) == 0 {
		return nil //nolint:nilerr // no bounds that could be read bind nobody; the config reader has warned
	}
	b := bounds{fill: fill, clamp: c.settings().Tollgate.CompatErrors == "old"}
	boundNumber(&b, "max_budget", &x.max, f.budget("max_budget"))
	boundNumber(&b, "max_parallel_requests", &x.parallel, f.limit("max_parallel_requests"))
	boundNumber(&b, "tpm_limit", &x.tpm, f.limit("tpm_limit"))
	boundNumber(&b, "rpm_limit", &x.rpm, f.limit("rpm_limit"))
	now := c.now()
	longer := func(v, max string) bool {
		m, err := unit.ParseWindow(max)
		if err != nil || m.Endless() {
			return false
		}
		w, err := unit.ParseWindow(v)
		return v == neverExpires || err == nil && (w.Endless() || w.Add(now).After(m.Add(now)))
	}
	b.bound("budget_duration", &x.duration, f.window("budget_duration"), longer)
	b.bound("duration", &x.lifetime, f.window("duration"), longer)
	return b.r
}

type bounds struct {
	fill, clamp bool
	r           *refusal.Refusal
}

func boundNumber[T unit.Money | int64](b *bounds, name string, v *field[T], max field[T]) {
	if !max.set {
		return
	}
	switch {
	case !v.set && (b.fill || v.given):
		*v = field[T]{true, true, max.v}
	case v.set && v.v > max.v && b.clamp:
		v.v = max.v
	case v.set && v.v > max.v && b.r == nil:
		show := func(x T) any {
			if m, ok := any(x).(unit.Money); ok {
				return m.String()
			}
			return x
		}
		b.r = badRequest(name, "%s is over max limit set in config - user_value=%v; max_value=%v", name, show(v.v), show(max.v))
	}
}

func (b *bounds) bound(name string, v *field[string], max field[string], above func(v, max string) bool) {
	if !max.set {
		return
	}
	switch {
	case !v.set && (b.fill || v.given):
		*v = field[string]{true, true, max.v}
	case v.set && above(v.v, max.v) && b.clamp:
		v.v = max.v
	case v.set && above(v.v, max.v) && b.r == nil:
		b.r = badRequest(name, "%s is over max limit set in config - user_value=%s; max_value=%s", name, v.v, max.v)
	}
}
