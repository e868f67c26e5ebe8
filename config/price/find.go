package price

import (
	"slices"
	"strings"
)

// aliasProviders are the names under which a provider's models are priced, in
// the order in which they are looked into: the caller's own name first, because
// an overlay speaks LiteLLM's names.
var aliasProviders = map[string][]string{
	"gemini":                 {"google"},
	"vertex_ai":              {"google", "anthropic", "mistral"},
	"vertex_ai_beta":         {"vertex_ai", "google", "anthropic"},
	"bedrock":                {"bedrock_converse", "aws"},
	"bedrock_converse":       {"bedrock", "aws"},
	"amazon_nova":            {"aws"},
	"together_ai":            {"together"},
	"fireworks_ai":           {"fireworks"},
	"xai":                    {"x-ai"},
	"azure":                  {"openai"},
	"azure_text":             {"azure", "openai"},
	"azure_ai":               {"azure", "openai"},
	"text-completion-openai": {"openai"},
	"openai_text":            {"openai"},
	"codestral":              {"mistral"},
	"cohere_chat":            {"cohere"},
	"moonshot":               {"moonshotai"},
	"voyage":                 {"voyageai"},
	"nvidia_nim":             {"nvidia"},
	"github":                 {"github-models"},
	"github_copilot":         {"github-copilot"},
	"dashscope":              {"alibaba", "alibaba-cn"},
	"vercel_ai_gateway":      {"vercel"},
	"hyperbolic":             {"huggingface_hyperbolic"},
	"nebius":                 {"huggingface_nebius"},
	"nscale":                 {"huggingface_nscale"},
	"sambanova":              {"huggingface_sambanova"},
	"publicai":               {"huggingface_publicai"},
	"meta_llama":             {"llama"},
}

func providerNames(provider string) []string {
	return append([]string{provider}, aliasProviders[provider]...)
}

// Find is the priced row of a model: by its exact id or another name of it,
// then without its date or revision. A model without a price is not found.
func (b *Book) Find(provider, model string) (*Row, bool) {
	return b.find(provider, model, (*Row).Priced)
}

// Describe is Find for limits and abilities: the row may have no price.
func (b *Book) Describe(provider, model string) (*Row, bool) {
	return b.find(provider, model, func(*Row) bool { return true })
}

func (b *Book) find(provider, model string, fits func(*Row) bool) (*Row, bool) {
	provider, model = strings.ToLower(provider), strings.ToLower(model)
	names := providerNames(provider)
	tries := spellings(provider, model)
	for _, id := range tries {
		for _, p := range names {
			if r := b.rows[p][id]; r != nil && fits(r) {
				return r, true
			}
		}
	}
	for _, id := range tries {
		stem := undated(id)
		for _, p := range names {
			for _, s := range [...]string{stem, stem + "-latest", stem + "-0"} {
				if r := b.rows[p][s]; r != nil && fits(r) && (s != id) {
					return r, true
				}
			}
			if r := b.stems[p][stem]; r != nil && fits(r) {
				return r, true
			}
		}
	}
	return nil, false
}

// spellings are the ids under which a model may be listed: as given, then
// without what a provider's own paths put around the name.
func spellings(provider, model string) []string {
	tries := []string{model}
	add := func(id string) {
		if id != "" && !slices.Contains(tries, id) {
			tries = append(tries, id)
		}
	}
	last := model[strings.LastIndexByte(model, '/')+1:]
	switch provider {
	case "bedrock", "bedrock_converse", "aws":
		bare, region := last, ""
		for _, prefix := range [...]string{"global.", "regional.", "us-gov.", "us.", "eu.", "apac.", "au.", "jp.", "ca.", "sa."} {
			if s, ok := strings.CutPrefix(last, prefix); ok {
				bare, region = s, prefix
				break
			}
		}
		add(last)
		if region != "global." {
			add("regional." + bare)
			add(bare)
		}
		add("global." + bare)
		add(bare)
		for _, id := range slices.Clone(tries) {
			if i := strings.LastIndexByte(id, ':'); i > 0 { // model revision or throughput suffix
				add(id[:i])
			}
			add(id + ":0")
			add(id + "-v1:0")
		}
	case "vertex_ai", "vertex_ai_beta", "gemini", "google", "fireworks_ai", "fireworks", "azure", "azure_ai":
		add(last)
	case "text-completion-openai", "openai":
		if !strings.HasPrefix(model, "ft:") { // fine-tuned models have prices of their own
			add(last)
		}
	}
	return tries
}

// undated takes the date or revision off an id: -2024-08-06, -20240806,
// @20240806, -001, -0613, -latest, @default, and Bedrock's -v1:0 after a date.
func undated(id string) string {
	if i := strings.LastIndexByte(id, '@'); i > 0 {
		return id[:i]
	}
	if s, ok := strings.CutSuffix(id, "-latest"); ok {
		return s
	}
	if i := strings.LastIndex(id, "-v"); i > 0 && strings.Contains(id[i:], ":") {
		if s := undated(id[:i]); s != id[:i] {
			return s
		}
	}
	if n := len(id) - len("-2006-01-02"); n > 0 && id[n] == '-' && id[n+5] == '-' && id[n+8] == '-' &&
		digits(id[n+1:n+5]) && digits(id[n+6:n+8]) && digits(id[n+9:]) {
		return id[:n]
	}
	i := strings.LastIndexByte(id, '-')
	if i > 0 && digits(id[i+1:]) {
		switch len(id) - i - 1 {
		case 3, 4, 8:
			return id[:i]
		}
	}
	return id
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
