package price

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Overlay lays a price map in LiteLLM's format over the book: an object of
// "provider/model" or "model" to prices and limits. An entry that states an
// input or output price replaces all prices of the model; one that does not
// adds to them. Every faulty entry is named in the error, and then nothing is
// laid over.
func (b *Book) Overlay(litellmPriceMap []byte) (*Book, error) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(litellmPriceMap, &entries); err != nil {
		return nil, fmt.Errorf("read price map: %w", err)
	}
	return b.OverlayEntries(entries)
}

// OverlayEntries is Overlay for a price map that is read already: its entries
// by their names. Without entries the book itself is returned.
func (b *Book) OverlayEntries(entries map[string]json.RawMessage) (*Book, error) {
	if len(entries) == 0 {
		return b, nil
	}
	n := &Book{version: strings.TrimSuffix(b.version, "+overlay") + "+overlay", rows: make(map[string]map[string]*Row, len(b.rows))}
	for p, rows := range b.rows {
		n.rows[p] = maps.Clone(rows)
	}
	var faults []error
	var rounded []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if key == "sample_spec" { // the format's own documentation
			continue
		}
		d, err := n.lay(b, key, entries[key])
		if err != nil {
			faults = append(faults, fmt.Errorf("price map entry %q: %w", key, err))
			continue
		}
		if len(d.rounded) > 0 {
			rounded = append(rounded, key)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(rounded) > 0 {
		n.warnings = append(n.warnings, fmt.Sprintf("prices finer than a pico-dollar were rounded: %s", strings.Join(rounded, ", ")))
	}
	n.index()
	return n, nil
}

func (b *Book) lay(under *Book, key string, raw json.RawMessage) (*reader, error) {
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(raw, &entry); err != nil {
		return nil, errors.New("want an object")
	}
	provider, model := entryName(key, entry["litellm_provider"])
	row := &Row{Provider: provider, Model: model}
	if old, ok := under.exact(provider, model); ok {
		row = old.clone()
		row.Provider, row.Model = provider, model
		if !isNull(entry["input_cost_per_token"]) || !isNull(entry["output_cost_per_token"]) || !isNull(entry[keyTiered]) {
			row.base, row.tiers, row.services, row.factors = Rates{}, nil, nil, nil
		}
	}
	d := &reader{row: row, coarse: true}
	d.read(entry)
	// Here max_tokens is the model's limit, unless the exact ones are given.
	if _, ok := entry["max_output_tokens"]; !ok {
		if n, ok := tokens(entry["max_tokens"]); ok {
			row.MaxOutput = n
		}
	}
	d.limits(entry)
	if err := d.err(); err != nil {
		return nil, err
	}
	row.Source, row.Version = SourceOverlay, SourceOverlay
	b.put(strings.ToLower(provider), model, row)
	return d, nil
}

func (b *Book) exact(provider, model string) (*Row, bool) {
	for _, p := range providerNames(strings.ToLower(provider)) {
		if r := b.rows[p][strings.ToLower(model)]; r != nil {
			return r, true
		}
	}
	return nil, false
}

// entryName splits an entry's key. The provider stated inside the entry wins
// over the key's prefix, because many ids contain slashes of their own.
func entryName(key string, stated json.RawMessage) (provider, model string) {
	if !isNull(stated) {
		provider = number(stated)
	}
	if strings.HasPrefix(provider, "vertex_ai-") {
		provider = "vertex_ai"
	}
	prefix, rest, slash := strings.Cut(key, "/")
	switch {
	case provider == "" && slash:
		return prefix, rest
	case provider == "":
		return "openai", key
	case slash && (prefix == provider || slices.Contains(aliasProviders[provider], prefix) || slices.Contains(aliasProviders[prefix], provider)):
		return provider, rest
	}
	return provider, key
}
