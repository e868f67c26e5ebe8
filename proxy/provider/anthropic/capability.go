package anthropic

import (
	"encoding/json"
	"strings"

	"tollgate/config/state"
)

// off says how a model's thinking can be turned off.
type off uint8

const (
	offOmit     off = iota // it only thinks when asked to
	offDisabled            // thinking: {"type":"disabled"}
	offBetween             // thinking: {"type":"between_tools"}
	offNever               // the lowest effort is all there is
)

// capability is what a model accepts of the Messages API.
type capability struct {
	sampling  bool   // temperature, top_p, top_k
	budget    bool   // thinking with budget_tokens
	adaptive  bool   // thinking {"type":"adaptive"} with an effort
	summary   bool   // hides its thinking unless a summary is asked for
	off       off    // how thinking ends
	forced    bool   // tool_choice any and tool
	efforts   string // accepted output_config.effort, blank-separated
	schema    bool   // output_config.format
	midSystem bool   // messages of role system
}

// family is one row: models whose name is the family's, or starts with it and
// goes on with a date or an alias.
type family struct {
	name string
	capability
}

const (
	effortsOld = "low medium high"
	effortsMax = "low medium high max"
	effortsAll = "low medium high xhigh max"
)

// families are the known models. A deployment's model_info overrides single
// columns, so that a new model needs no new release.
func families() []family {
	plain := capability{sampling: true, forced: true}
	thinks := capability{sampling: true, forced: true, budget: true}
	schemas := capability{sampling: true, forced: true, budget: true, schema: true}
	opus45 := schemas
	opus45.efforts = effortsOld
	gen46 := capability{sampling: true, forced: true, budget: true, schema: true, adaptive: true, efforts: effortsMax}
	gen47 := capability{forced: true, budget: true, schema: true, adaptive: true, summary: true, off: offDisabled, efforts: effortsAll}
	gen5 := gen47
	gen5.budget = false
	fable5 := gen5
	fable5.off = offNever
	strict := fable5
	strict.forced = false
	sonnet55 := strict
	sonnet55.off = offBetween
	return []family{
		{"claude-instant", plain}, {"claude-instant-1", plain}, {"claude-2", plain}, {"claude-2-0", plain}, {"claude-2-1", plain},
		{"claude-3", plain}, {"claude-3-5", plain}, {"claude-3-7", thinks},
		{"claude-opus-4", thinks}, {"claude-opus-4-0", thinks}, {"claude-sonnet-4", thinks}, {"claude-sonnet-4-0", thinks},
		{"claude-4-opus", thinks}, {"claude-4-sonnet", thinks},
		{"claude-opus-4-1", schemas}, {"claude-sonnet-4-5", schemas}, {"claude-haiku-4-5", schemas},
		{"claude-opus-4-5", opus45},
		{"claude-opus-4-6", gen46}, {"claude-sonnet-4-6", gen46},
		{"claude-opus-4-7", gen47}, {"claude-opus-4-8", gen47}, {"claude-sonnet-5", gen47},
		{"claude-opus-5", gen5}, {"claude-haiku-5-5", gen5},
		{"claude-fable-5", fable5},
		{"claude-fable-5-1", strict}, {"claude-opus-5-5", strict},
		{"claude-sonnet-5-5", sonnet55},
	}
}

// newest is what an unknown Claude gets: what every newer generation has in
// common, and nothing that one of them refuses.
func newest() capability {
	return capability{schema: true, adaptive: true, summary: true, off: offNever, efforts: effortsOld}
}

// foreign is what other makers' models behind the same API get.
func foreign() capability { return capability{sampling: true, forced: true, budget: true} }

// table is built once: the rows are data and never change.
var table = families()

// capabilityOf looks the model up and lays model_info over the row.
func capabilityOf(model string, d *state.Deployment) capability {
	name := normalize(model)
	found, c := "", foreign()
	if strings.HasPrefix(name, "claude") {
		c = newest()
	}
	for i := range table {
		f := &table[i]
		if len(f.name) > len(found) && strings.HasPrefix(name, f.name) && endsFamily(name[len(f.name):]) {
			found, c = f.name, f.capability
		}
	}
	return c.override(d)
}

// normalize strips makers, regions and separators: "us.anthropic.claude-opus-4-7-v1:0",
// "anthropic/claude-opus-4.7" and "claude-opus-4-7@20260401" are one family.
func normalize(model string) string {
	name := strings.ToLower(model)
	name = name[strings.LastIndexByte(name, '/')+1:]
	if i := strings.Index(name, "anthropic."); i >= 0 {
		name = name[i+len("anthropic."):]
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.', '@', ':', '_':
			return '-'
		}
		return r
	}, name)
}

// endsFamily reports whether what follows a family's name is no part of a
// version: "-20250514" and "-latest" are not, "-9" is.
func endsFamily(rest string) bool {
	if rest == "" {
		return true
	}
	if rest[0] != '-' {
		return false
	}
	word, _, _ := strings.Cut(rest[1:], "-")
	if len(word) == 0 || len(word) > 2 {
		return true
	}
	for i := 0; i < len(word); i++ {
		if word[i] < '0' || word[i] > '9' {
			return true
		}
	}
	return false
}

// override reads the capability flags an operator may set in model_info.
func (c capability) override(d *state.Deployment) capability {
	if len(d.Info) == 0 {
		return c
	}
	flag := func(key string, at *bool) {
		switch string(d.Info[key]) {
		case "true":
			*at = true
		case "false":
			*at = false
		}
	}
	flag("supports_native_structured_output", &c.schema)
	flag("supports_json_schema", &c.schema)
	flag("supports_tool_choice_required", &c.forced)
	flag("supports_system_mid_conversation", &c.midSystem)
	switch string(d.Info["sampling"]) {
	case `"full"`:
		c.sampling = true
	case `"none"`:
		c.sampling = false
	}
	if efforts := words(d.Info["reasoning_efforts"]); efforts != "" {
		c.efforts = efforts
	}
	if modes := words(d.Info["thinking_modes"]); modes != "" {
		c.adaptive, c.budget = hasWord(modes, "adaptive"), hasWord(modes, "enabled")
		switch {
		case hasWord(modes, "disabled"):
			c.off = offDisabled
		case hasWord(modes, "between_tools"):
			c.off = offBetween
		default:
			c.off = offNever
		}
	}
	return c
}

func words(raw []byte) string {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	return strings.Join(list, " ")
}

func hasWord(list, word string) bool {
	for have := range strings.FieldsSeq(list) {
		if have == word {
			return true
		}
	}
	return false
}
