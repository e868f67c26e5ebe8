// Package registry holds every provider that can be called, by name: those
// with a translator of their own, the table of OpenAI-compatible ones, and the
// rows that an operator declares. It chooses nothing; the route does.
package registry

import (
	"sync/atomic"

	"tollgate/config/model"
	"tollgate/config/state"
	messages "tollgate/proxy/anthropic"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
	"tollgate/proxy/provider/openai"
)

// Registry finds providers. It is safe for many goroutines.
type Registry struct {
	builtIn map[string]entry
	rows    func() []model.OpenAIRow
	merged  atomic.Pointer[merged]
}

// entry is a provider, and the same serving Messages by way of chat.
type entry struct {
	plain, messages provider.Provider
}

// merged is what the rows of one configuration make.
type merged struct {
	rows  []model.OpenAIRow // as given: a config's rows are replaced whole, never written
	extra map[string]entry
}

// New makes a registry. rows gives the operator's rows as they are now; they
// win over built-in ones of the same name. It may be nil.
func New(rows func() []model.OpenAIRow) *Registry {
	r := &Registry{builtIn: make(map[string]entry), rows: rows}
	r.builtIn["anthropic"] = newEntry(anthropic.New())
	for _, row := range openai.Rows() {
		r.builtIn[row.Name] = newEntry(openai.New(row))
	}
	return r
}

func newEntry(p provider.Provider) entry {
	e := entry{plain: p, messages: p}
	if !p.Supports(provider.OpMessages) {
		e.messages = messages.Wrap(p)
	}
	return e
}

// Find returns the provider that serves an operation under a name. Messages
// are served by every provider of chat.
func (r *Registry) Find(name string, op provider.Op) (provider.Provider, bool) {
	e, ok := r.entry(name)
	if !ok {
		return nil, false
	}
	p := e.plain
	if op == provider.OpMessages {
		p = e.messages
	}
	if !p.Supports(op) {
		return nil, false
	}
	return p, true
}

func (r *Registry) entry(name string) (entry, bool) {
	if r.rows != nil {
		if rows := r.rows(); len(rows) > 0 {
			if e, ok := r.extra(rows)[name]; ok {
				return e, true
			}
		}
	}
	e, ok := r.builtIn[name]
	return e, ok
}

// extra is the operator's rows as providers, made once per configuration. Two
// goroutines may make them at the same time; either result serves.
func (r *Registry) extra(rows []model.OpenAIRow) map[string]entry {
	if m := r.merged.Load(); m != nil && len(m.rows) == len(rows) && &m.rows[0] == &rows[0] {
		return m.extra
	}
	m := &merged{rows: rows, extra: make(map[string]entry, len(rows))}
	for _, row := range rows {
		m.extra[row.Name] = newEntry(openai.New(openai.FromConfig(row)))
	}
	r.merged.Store(m)
	return m.extra
}

// Defaults is where the built-in providers are and where their keys are found,
// for what compiles the configuration.
func Defaults() map[string]state.ProviderDefaults {
	out := map[string]state.ProviderDefaults{
		"anthropic": {Base: "https://api.anthropic.com", KeyEnv: []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"},
			BaseEnv: []string{"ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"}},
	}
	for _, row := range openai.Rows() {
		out[row.Name] = state.ProviderDefaults{Base: row.BaseURL, KeyEnv: row.KeyEnv, BaseEnv: row.BaseEnv, KeyOptional: row.KeyOptional}
	}
	return out
}
