package price

import "tollgate/config/unit"

// Cost is what one call costs, by component. Components sum to Total exactly:
// the total is rounded once, half up, from pico-dollars.
type Cost struct {
	Total      unit.Money `json:"total"`
	Input      unit.Money `json:"input,omitempty"` // uncached text input, audio and images included
	CacheRead  unit.Money `json:"cache_read,omitempty"`
	CacheWrite unit.Money `json:"cache_write,omitempty"`
	Output     unit.Money `json:"output,omitempty"` // text, audio and image output
	Reasoning  unit.Money `json:"reasoning,omitempty"`
	Tools      unit.Money `json:"tools,omitempty"` // per-request and server-tool fees
	// Priced is false when no price was known: Total is then 0 and says nothing.
	Priced  bool     `json:"priced"`
	Version string   `json:"version,omitempty"` // of the price book, or "config"
	Notes   []string `json:"notes,omitempty"`   // fallbacks taken, e.g. "cache read at input price"
}
