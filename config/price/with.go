package price

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// abilityKey are LiteLLM's names of what a model can do.
var abilityKey = map[string]Supports{
	"supports_function_calling": Tools, "supports_reasoning": ReasoningMode, "supports_vision": Vision,
	"supports_audio_input": AudioInput, "supports_audio_output": AudioOutput, "supports_pdf_input": PDFInput,
	"supports_video_input": VideoInput, "supports_prompt_caching": PromptCaching,
	"supports_response_schema": ResponseSchema, "supports_parallel_function_calling": ParallelTools,
	"supports_tool_choice": ToolChoice, "supports_system_messages": SystemMessages,
	"supports_web_search": WebSearch, "supports_assistant_prefill": Prefill,
}

// With lays the prices and limits of a deployment's litellm_params or
// model_info over a row. A stated price replaces the row's of that class
// together with its long-prompt and service-tier variants; a stated zero for
// input or output also drops what would still cost something beside it. Without
// a price or limit among the params the row itself is returned; a nil row stays
// nil unless a price is stated. max_tokens is not read: among litellm_params it
// is a request's default, not the model's limit.
func (r *Row) With(params map[string]json.RawMessage) (*Row, error) {
	d := reader{row: &Row{Source: SourceConfig, Version: SourceConfig}}
	if r != nil {
		d.row = r.clone()
	}
	d.read(params)
	priced := false
	for k, v := range params {
		priced = priced || IsKey(k) && !isNull(v)
	}
	limited := d.limits(params)
	switch err := d.err(); {
	case err != nil:
		return nil, fmt.Errorf("price: %w", err)
	case priced:
		d.row.Source, d.row.Version = SourceConfig, SourceConfig
	case !limited || r == nil:
		return r, nil
	}
	return d.row, nil
}

// limits reads what is not a price and reports whether there was any.
func (d *reader) limits(params map[string]json.RawMessage) bool {
	found := false
	for _, l := range [...]struct {
		key string
		to  *int64
	}{{"max_input_tokens", &d.row.MaxInput}, {"max_output_tokens", &d.row.MaxOutput}} {
		raw, ok := params[l.key]
		if !ok || isNull(raw) {
			continue
		}
		n, ok := tokens(raw)
		if !ok {
			d.fault(l.key, fmt.Errorf("%q is no number of tokens", number(raw)))
			continue
		}
		*l.to, found = n, true
	}
	if raw, ok := params["mode"]; ok && !isNull(raw) {
		d.row.Mode, found = number(raw), true
	}
	for k, bit := range abilityKey {
		switch strings.TrimSpace(string(params[k])) {
		case "true":
			d.row.Supports |= bit
			found = true
		case "false":
			d.row.Supports &^= bit
			found = true
		}
	}
	return found
}

func tokens(raw json.RawMessage) (int64, bool) {
	s := number(raw)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, n >= 0 && n <= 1<<50
	}
	f, err := strconv.ParseFloat(s, 64)
	return int64(f), err == nil && f >= 0 && f <= 1<<50
}

// Info adds the row's prices, limits and abilities to a model_info object under
// LiteLLM's names, as plain JSON values. Prices are floats there by contract.
func (r *Row) Info(into map[string]any) {
	if r == nil {
		return
	}
	put := func(t *Rates, ending string) {
		for c := Class(0); c < classes; c++ {
			p, ok := t.get(c)
			if ok && classKey[c] != "" {
				into[classKey[c]+ending] = p.USD()
			}
		}
	}
	putTiers := func(tiers []tier, ending string) {
		for i := range tiers {
			k := (tiers[i].above + 1) / 1000 // 199999 and 200000 are both "200k"
			put(&tiers[i].Rates, "_above_"+strconv.FormatInt(k, 10)+"k_tokens"+ending)
		}
	}
	put(&r.base, "")
	putTiers(r.tiers, "")
	for i := range r.services {
		put(&r.services[i].Rates, "_"+r.services[i].name)
		putTiers(r.services[i].tiers, "_"+r.services[i].name)
	}
	search := map[string]any{}
	for c, name := range map[Class]string{SearchLow: "search_context_size_low", Search: "search_context_size_medium", SearchHigh: "search_context_size_high"} {
		if p, ok := r.base.get(c); ok {
			search[name] = p.USD()
		}
	}
	if len(search) > 0 {
		into[keySearch] = search
	}
	for name, n := range map[string]int64{"max_input_tokens": r.MaxInput, "max_output_tokens": r.MaxOutput, "max_tokens": r.MaxOutput} {
		if n > 0 {
			into[name] = n
		}
	}
	if r.Mode != "" {
		into["mode"] = r.Mode
	}
	for k, bit := range abilityKey {
		if r.Supports&bit != 0 {
			into[k] = true
		}
	}
}
