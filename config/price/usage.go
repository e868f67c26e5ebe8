// Package price turns what a provider counted into money: the canonical usage
// record, the price book and the arithmetic. It is the only place where a cost
// comes from, and it never invents one: a model without a price is said to be
// unpriced.
package price

// Usage is the canonical count of one call. All counts are >= 0. Input is
// split without overlap; OutReasoning and OutAudio are parts of OutTotal.
// Bills are made from this record only, never from a converted usage object:
// that is how cached tokens get billed twice.
type Usage struct {
	InUncached   int64 `json:"in_uncached"`
	CacheRead    int64 `json:"cache_read,omitempty"`
	CacheWrite5m int64 `json:"cache_write_5m,omitempty"` // also writes of unnamed lifetime
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"`
	InAudio      int64 `json:"in_audio,omitempty"`
	InImage      int64 `json:"in_image,omitempty"`
	OutTotal     int64 `json:"out_total"`
	OutReasoning int64 `json:"out_reasoning,omitempty"`
	OutAudio     int64 `json:"out_audio,omitempty"`
	OutImage     int64 `json:"out_image,omitempty"`
	PredAccepted int64 `json:"pred_accepted,omitempty"`
	PredRejected int64 `json:"pred_rejected,omitempty"`
	WebSearches  int64 `json:"web_searches,omitempty"`
	// CacheReadAudio and CacheReadImage are parts of CacheRead.
	CacheReadAudio int64 `json:"cache_read_audio,omitempty"`
	CacheReadImage int64 `json:"cache_read_image,omitempty"`
	Citations      int64 `json:"citations,omitempty"` // tokens of cited sources, outside Prompt
	// Counts that are not tokens. Durations are in milliseconds.
	Queries     int64  `json:"queries,omitempty"` // rerank and search units
	Pages       int64  `json:"pages,omitempty"`
	InImages    int64  `json:"in_images,omitempty"`
	OutImages   int64  `json:"out_images,omitempty"`
	InPixels    int64  `json:"in_pixels,omitempty"`
	OutPixels   int64  `json:"out_pixels,omitempty"`
	InMillis    int64  `json:"in_millis,omitempty"`
	OutMillis   int64  `json:"out_millis,omitempty"`
	InChars     int64  `json:"in_chars,omitempty"`
	OutChars    int64  `json:"out_chars,omitempty"`
	SearchSize  string `json:"search_size,omitempty"`  // low, medium, high
	ServiceTier string `json:"service_tier,omitempty"` // as served: default, flex, priority, batch, …
	Speed       string `json:"speed,omitempty"`        // Anthropic: standard, fast
	Geo         string `json:"inference_geo,omitempty"`
	// Known is false while no provider has said anything; zero counts with
	// Known set are the provider's word and are billed as zero.
	Known bool `json:"known"`
	// Estimated marks counts that are ours, from bytes or text, because the
	// provider gave none.
	Estimated bool `json:"estimated,omitempty"`

	compacted iteration // part of the counts above; only while a stream is read
}

// Prompt is the whole input in OpenAI's sense: cached tokens included.
func (u *Usage) Prompt() int64 {
	return u.InUncached + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h + u.InAudio + u.InImage
}

// Total is input plus output.
func (u *Usage) Total() int64 { return u.Prompt() + u.OutTotal }
