package price

import (
	"iter"
	"slices"

	"tollgate/config/unit"
)

// Where a row's prices come from.
const (
	SourceBook    = "book"
	SourceOverlay = "overlay"
	SourceConfig  = "config"
)

// Supports says what a model can do, for listings.
type Supports uint16

// The abilities.
const (
	Tools Supports = 1 << iota
	ReasoningMode
	Vision
	AudioInput
	AudioOutput
	PDFInput
	VideoInput
	PromptCaching
	ResponseSchema
	ParallelTools
	ToolChoice
	SystemMessages
	WebSearch
	Prefill
)

// Row is one model's prices and limits. It is immutable once handed out.
type Row struct {
	Provider  string // in the book's words, or as the overlay names it
	Model     string
	Mode      string // chat, embedding, rerank, audio_transcription, …
	MaxInput  int64  // tokens; 0 unknown
	MaxOutput int64  // tokens; 0 unknown
	Supports  Supports
	Source    string // SourceBook, SourceOverlay or SourceConfig
	Version   string // the book's day, "overlay" or "config"

	base     Rates
	tiers    []tier // shortest first
	services []service
	factors  []factor
}

// Priced reports whether any price is stated, be it zero. A nil row has none.
func (r *Row) Priced() bool { return r != nil && r.base.stated != 0 }

// Free reports that every stated price is explicitly zero.
func (r *Row) Free() bool {
	if !r.Priced() {
		return false
	}
	zero := func(t *Rates) bool { return t.price == [classes]unit.Price{} }
	free := zero(&r.base)
	for i := range r.tiers {
		free = free && zero(&r.tiers[i].Rates)
	}
	for i := range r.services {
		s := &r.services[i]
		free = free && zero(&s.Rates)
		for j := range s.tiers {
			free = free && zero(&s.tiers[j].Rates)
		}
	}
	return free
}

// Price is a class's standard price; false when none is stated.
func (r *Row) Price(c Class) (unit.Price, bool) {
	if r == nil {
		return 0, false
	}
	return r.base.get(c)
}

// Thresholds are the prompt lengths beyond which other prices hold.
func (r *Row) Thresholds() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := range r.tiers {
			if !yield(r.tiers[i].above) {
				return
			}
		}
	}
}

func (r *Row) clone() *Row {
	c := *r
	c.tiers = slices.Clone(r.tiers)
	c.services = slices.Clone(r.services)
	for i := range c.services {
		c.services[i].tiers = slices.Clone(c.services[i].tiers)
	}
	c.factors = slices.Clone(r.factors)
	return &c
}

// Names of service tiers in price keys.
const (
	flex     = "flex"
	priority = "priority"
	batches  = "batches"
)

// serviceName maps what providers call a service tier to the name of its
// prices. Ordinary tiers are billed at the base and need no remark.
func serviceName(tier string) (name string, ordinary bool) {
	switch tier {
	case "", "default", "standard", "auto", "on_demand", "standard_only":
		return "", true
	case "batch":
		return batches, false
	case "fast":
		return priority, false
	}
	return tier, false
}

func (r *Row) service(name string) *service {
	for i := range r.services {
		if r.services[i].name == name {
			return &r.services[i]
		}
	}
	return nil
}

func (r *Row) ensureService(name string) *service {
	if s := r.service(name); s != nil {
		return s
	}
	r.services = append(r.services, service{name: name})
	return &r.services[len(r.services)-1]
}

func (r *Row) selection(prompt int64, serviceTier string) selection {
	sel := selection{factor: one}
	sel.tables[3] = &r.base
	sel.tables[1] = tierFor(r.tiers, prompt)
	name, ordinary := serviceName(serviceTier)
	if ordinary {
		return sel
	}
	sel.batch = name == batches
	if s := r.service(name); s != nil {
		sel.tables[0], sel.tables[2] = tierFor(s.tiers, prompt), &s.Rates
		sel.own[0], sel.own[2] = true, true
	}
	return sel
}

func (r *Row) factor(name string) uint64 {
	if name != "" {
		for i := range r.factors {
			if r.factors[i].name == name {
				return r.factors[i].ppm
			}
		}
	}
	return one
}

func (r *Row) factorFor(u *Usage) uint64 {
	if len(r.factors) == 0 {
		return one
	}
	return r.factorOf(u.Geo, u.Speed)
}

func (r *Row) factorOf(geo, speed string) uint64 {
	return r.factor(geo) * r.factor(speed) / one
}
