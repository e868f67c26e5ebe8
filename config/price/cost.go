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

// Add puts another answer's cost to this one's, where both are billed.
func (c *Cost) Add(o *Cost) {
	if !o.Priced {
		return
	}
	c.Total = c.Total.Add(o.Total)
	c.Input = c.Input.Add(o.Input)
	c.CacheRead = c.CacheRead.Add(o.CacheRead)
	c.CacheWrite = c.CacheWrite.Add(o.CacheWrite)
	c.Output = c.Output.Add(o.Output)
	c.Reasoning = c.Reasoning.Add(o.Reasoning)
	c.Tools = c.Tools.Add(o.Tools)
	if !c.Priced {
		c.Priced, c.Version = true, o.Version
	}
}
