package admin

import (
	stdjson "encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/secret"
	"tollgate/config/state"
)

// modelRow is one deployment as the API shows it.
type modelRow struct {
	Name   string                    `json:"model_name"`
	Params map[string]jsontext.Value `json:"litellm_params"`
	Info   map[string]jsontext.Value `json:"model_info"`
}

// modelRow shows a deployment: its parameters without secrets, and what is
// known of the model under what the operator said of it.
func (c *call) modelRow(d *state.Deployment) modelRow {
	info := map[string]jsontext.Value{}
	show := func(name string, v any) {
		if b, err := json.Marshal(v); err == nil {
			info[name] = b
		}
	}
	show("id", d.ID)
	show("db_model", d.DBModel)
	show("key", d.FullModel)
	show("litellm_provider", d.Provider)
	maps.Copy(info, priceInfo(d.Price))
	if d.Mode != "" {
		show("mode", d.Mode)
	}
	if d.MaxInput > 0 {
		show("max_input_tokens", d.MaxInput)
	}
	if d.MaxOutput > 0 {
		show("max_output_tokens", d.MaxOutput)
		show("max_tokens", d.MaxOutput)
	}
	if len(d.AccessGroups) > 0 {
		show("access_groups", d.AccessGroups)
	}
	for name, v := range c.shown(d.Info) {
		if name != "id" && name != "db_model" {
			info[name] = v
		}
	}
	return modelRow{d.Group, c.shown(d.Params), info}
}

// priceInfo shows what a price row knows of its model.
func priceInfo(r *price.Row) map[string]jsontext.Value {
	out := map[string]jsontext.Value{}
	for name, class := range shownPrices {
		v := jsontext.Value("null")
		if p, ok := r.Price(class); ok {
			v, _ = json.Marshal(p.USD())
		} else if class != price.Input && class != price.Output {
			continue
		}
		out[name] = v
	}
	if r == nil {
		return out
	}
	for name, ability := range abilities {
		v, _ := json.Marshal(r.Supports&ability != 0)
		out[name] = v
	}
	return out
}

var shownPrices = map[string]price.Class{
	"input_cost_per_token": price.Input, "output_cost_per_token": price.Output,
	"cache_read_input_token_cost": price.CacheRead, "cache_creation_input_token_cost": price.CacheWrite5m,
	"output_cost_per_reasoning_token": price.Reasoning,
}

var abilities = map[string]price.Supports{
	"supports_function_calling": price.Tools, "supports_reasoning": price.ReasoningMode, "supports_vision": price.Vision,
	"supports_audio_input": price.AudioInput, "supports_audio_output": price.AudioOutput, "supports_pdf_input": price.PDFInput,
	"supports_prompt_caching": price.PromptCaching, "supports_response_schema": price.ResponseSchema,
	"supports_parallel_function_calling": price.ParallelTools, "supports_tool_choice": price.ToolChoice,
	"supports_system_messages": price.SystemMessages, "supports_web_search": price.WebSearch, "supports_assistant_prefill": price.Prefill,
}

// shown is a parameter map without its secrets.
func (c *call) shown(p model.Params) map[string]jsontext.Value {
	out := make(map[string]jsontext.Value, len(p))
	for name, v := range p {
		if shown, ok := c.withoutSecrets(name, v); ok {
			out[name] = shown
		}
	}
	return out
}

// withoutSecrets is a value with the secrets inside it left out: members with a
// secret's name, and whatever is sealed. It reports false when nothing is left.
func (c *call) withoutSecrets(name string, v stdjson.RawMessage) (jsontext.Value, bool) {
	if c.a.IsSecret(name) || len(v) == 0 {
		return nil, false
	}
	switch v[0] {
	case '"':
		s := text(jsontext.Value(v))
		if secret.IsSealed(s) {
			return nil, false
		}
		if masked := withoutUserinfo(s); masked != s {
			b, err := json.Marshal(masked)
			return b, err == nil
		}
	case '{':
		var in map[string]stdjson.RawMessage
		if json.Unmarshal(v, &in) != nil {
			return nil, false
		}
		b, err := json.Marshal(c.shown(in), json.Deterministic(true))
		return b, err == nil
	case '[':
		var in []stdjson.RawMessage
		if json.Unmarshal(v, &in) != nil {
			return nil, false
		}
		out := []jsontext.Value{}
		for _, x := range in {
			if shown, ok := c.withoutSecrets("", x); ok {
				out = append(out, shown)
			}
		}
		b, err := json.Marshal(out)
		return b, err == nil
	}
	return jsontext.Value(v), true
}

// withoutUserinfo takes user and password out of an address.
func withoutUserinfo(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		return scheme + "://" + rest[i+1:]
	}
	return s
}

// deployments lists what the caller may use, group by group.
func (c *call) deployments() []*state.Deployment {
	r := c.s.Routing
	if r == nil {
		return nil
	}
	byGroup := map[string][]*state.Deployment{}
	for name, g := range r.Groups {
		byGroup[name] = g.Deployments
	}
	for _, p := range r.Patterns {
		byGroup[p.Name] = p.Deployments
	}
	names := slices.Sorted(maps.Keys(byGroup))
	if !c.seesAll() {
		names = c.p.Models(c.s, names)
	}
	var out []*state.Deployment
	for _, name := range names {
		out = append(out, byGroup[name]...)
	}
	return out
}
