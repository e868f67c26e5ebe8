package openai

import (
	"slices"

	"tollgate/config/model"
)

// Row is one OpenAI-compatible provider: where it is, where its key is found,
// and in what it differs from OpenAI.
type Row struct {
	Name    string
	BaseURL string   // "": the deployment must name one
	KeyEnv  []string // first found counts
	BaseEnv []string
	// KeyOptional marks servers that work without a key, often one's own.
	KeyOptional bool
	Headers     [][2]string
	// HeaderEnv are headers that LiteLLM fills from the environment; the config
	// compiler puts them into the deployment's extra headers.
	HeaderEnv [][2]string
	// Organization: the provider knows the OpenAI-Organization header.
	Organization bool

	Rename      map[string]string // request fields under another name here
	Strip       []string          // fields without meaning here, left out silently
	Unsupported []string          // fields refused: left out under drop_params, else 400
	Models      []ModelRule       // first match counts

	BasePath     string // added to a base that does not end in it
	ModelPrefix  string // put before names without a slash
	ModelRouted  bool   // PROVIDER/org/model is written org/model:PROVIDER
	Usage        UsageAsk
	FlattenLists bool // content must be text, not a list of parts
	NoNames      bool // messages must not hold a name
	ShortToolIDs bool // tool call ids are nine letters or digits
	RequiredAny  bool // tool_choice "required" is called "any"
	NoRequired   bool // tool_choice "required" is not known
	PartLists    bool // answers may hold content as a list of parts
	FloatOnly    bool // embeddings come as floats only
	NoCompletion bool // no text completions
	NoEmbedding  bool
	NoChat       bool // embeddings only
}

// UsageAsk is how a provider is asked for usage in a stream.
type UsageAsk uint8

// The ways of asking.
const (
	UsageOption  UsageAsk = iota // stream_options.include_usage
	UsageAlways                  // it always tells, and refuses stream_options
	UsageInclude                 // usage.include beside the option (OpenRouter)
)

// ModelRule is how some models of a provider differ from the others.
type ModelRule struct {
	// Prefix of the model's name, ending at the name's end or before one of "-.:@".
	Prefix string
	// CompletionTokens: max_tokens is called max_completion_tokens.
	CompletionTokens bool
	// Fixed are sampling fields that must have their neutral value.
	Fixed []string
	// FreeWithoutReasoning lifts Fixed while reasoning_effort is none or unset.
	FreeWithoutReasoning bool
	// Strip are fields left out silently.
	Strip []string
}

// FromConfig makes a row of a provider declared in config.yaml.
func FromConfig(c model.OpenAIRow) Row {
	r := Row{Name: c.Name, BaseURL: c.BaseURL, KeyEnv: c.KeyEnv, BaseEnv: c.BaseEnv, KeyOptional: len(c.KeyEnv) == 0,
		Rename: c.ParamMappings, Strip: c.DropParams, FlattenLists: c.FlattenLists}
	names := make([]string, 0, len(c.Headers))
	for name := range c.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.Headers = append(r.Headers, [2]string{name, c.Headers[name]})
	}
	return r
}

// rule finds what the table says of a model.
func (r *Row) rule(name string) *ModelRule {
	for i := range r.Models {
		if hasNamePrefix(name, r.Models[i].Prefix) {
			return &r.Models[i]
		}
	}
	return nil
}

func hasNamePrefix(name, prefix string) bool {
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return false
	}
	if len(name) == len(prefix) || len(prefix) > 0 && prefix[len(prefix)-1] == '.' {
		return true
	}
	switch name[len(prefix)] {
	case '-', '.', ':', '@':
		return true
	}
	return false
}
