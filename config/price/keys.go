package price

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sort"
	"strconv"
	"strings"

	"tollgate/config/unit"
)

// LiteLLM's names of the prices, without the endings for tiers.
var keyClass = map[string]Class{
	"input_cost_per_token":                      Input,
	"output_cost_per_token":                     Output,
	"cache_read_input_token_cost":               CacheRead,
	"input_cost_per_token_cache_hit":            CacheRead,
	"cache_read_input_audio_token_cost":         CacheReadAudio,
	"cache_read_input_image_token_cost":         CacheReadImage,
	"cache_creation_input_token_cost":           CacheWrite5m,
	"cache_creation_input_token_cost_above_1hr": CacheWrite1h,
	"input_cost_per_audio_token":                InputAudio,
	"input_cost_per_image_token":                InputImage,
	"output_cost_per_reasoning_token":           Reasoning,
	"output_cost_per_audio_token":               OutputAudio,
	"output_cost_per_image_token":               OutputImage,
	"citation_cost_per_token":                   Citation,
	"input_cost_per_request":                    PerRequest,
	"cost_per_request":                          PerRequest,
	"input_cost_per_query":                      Query,
	"ocr_cost_per_page":                         Page,
	"input_cost_per_image":                      InputPicture,
	"output_cost_per_image":                     OutputPicture,
	"input_cost_per_pixel":                      InputPixel,
	"output_cost_per_pixel":                     OutputPixel,
	"input_cost_per_second":                     InputSecond,
	"input_cost_per_audio_per_second":           InputSecond,
	"output_cost_per_second":                    OutputSecond,
	"output_cost_per_video_per_second":          OutputSecond,
	"input_cost_per_character":                  InputCharacter,
	"output_cost_per_character":                 OutputCharacter,
}

// classKey is the name under which a class is shown.
var classKey = func() (names [classes]string) {
	for k, c := range keyClass {
		if names[c] == "" || len(k) < len(names[c]) || len(k) == len(names[c]) && k < names[c] {
			names[c] = k
		}
	}
	names[CacheRead], names[PerRequest] = "cache_read_input_token_cost", "input_cost_per_request"
	return names
}()

const (
	keySearch    = "search_context_cost_per_query"
	keyTiered    = "tiered_pricing"
	keyFactors   = "provider_specific_entry"
	prefixUplift = "regional_processing_uplift_multiplier_"
)

// target is the place in a row that a key prices.
type target struct {
	class   Class
	above   int64 // 0: base
	service string
}

// parseKey reads "input_cost_per_token_above_200k_tokens_priority" and its
// relatives: a name, then a length, then a service tier, the last two in either
// order.
func parseKey(key string) (target, bool) {
	var t target
	rest := key
	for range 3 {
		if c, ok := keyClass[rest]; ok {
			t.class = c
			return t, t.above == 0 && t.service == "" || c.ofToken()
		}
		cut := false
		for _, name := range [...]string{flex, priority, batches} {
			if s, ok := strings.CutSuffix(rest, "_"+name); ok && t.service == "" {
				rest, t.service, cut = s, name, true
			}
		}
		if i := strings.LastIndex(rest, "_above_"); i >= 0 && t.above == 0 && !cut {
			if k, ok := strings.CutSuffix(rest[i+len("_above_"):], "k_tokens"); ok {
				n, err := strconv.ParseInt(k, 10, 32)
				if err != nil || n <= 0 {
					return t, false
				}
				rest, t.above, cut = rest[:i], n*1000, true
			}
		}
		if !cut {
			return t, false
		}
	}
	return t, false
}

// IsKey reports whether a name is a price that a Row knows. Such names in a
// deployment's parameters are prices, never request fields.
func IsKey(key string) bool {
	if _, ok := parseKey(key); ok {
		return true
	}
	return key == keySearch || key == keyTiered || key == keyFactors || strings.HasPrefix(key, prefixUplift)
}

// reader takes keys into a row and gathers every fault.
type reader struct {
	row *Row
	// coarse rounds what is finer than a pico-dollar instead of refusing it:
	// foreign price maps hold results of float divisions.
	coarse  bool
	rounded []string
	stated  [classes]bool // base prices that this reading stated
	faults  []error
}

func (d *reader) fault(key string, err error) {
	d.faults = append(d.faults, fmt.Errorf("%s: %w", key, err))
}

func (d *reader) err() error { return errors.Join(d.faults...) }

// read takes all price keys, in the order of their names so that faults and
// results do not depend on map order; base prices come before their variants,
// because a newly stated base price drops the variants of the old one.
func (d *reader) read(params map[string]json.RawMessage) {
	keys := make([]string, 0, len(params))
	for k := range params {
		if IsKey(k) && !isNull(params[k]) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, variants := range [...]bool{false, true} {
		for _, k := range keys {
			t, plain := parseKey(k)
			if variants != (!plain || t.above != 0 || t.service != "") {
				continue
			}
			switch {
			case plain:
				if p, ok := d.price(k, params[k]); ok {
					d.put(t, p)
				}
			case k == keySearch:
				d.search(params[k])
			case k == keyTiered:
				d.tiered(params[k])
			case k == keyFactors:
				d.factorsOf(params[k])
			default:
				d.putFactor(k, strings.TrimPrefix(k, prefixUplift), params[k])
			}
		}
	}
	d.freeOf(Input, []Class{CacheRead, CacheReadAudio, CacheReadImage, CacheWrite5m, CacheWrite1h, InputAudio, InputImage, Citation})
	d.freeOf(Output, []Class{Reasoning, OutputAudio, OutputImage})
}

func (d *reader) put(t target, p unit.Price) {
	r := d.row
	if t.above != 0 && (r.Provider == "xai" || r.Provider == "x-ai") {
		t.above-- // xAI's long prompts begin at the threshold, not beyond it
	}
	tiers := &r.tiers
	if t.service != "" {
		s := r.ensureService(t.service)
		if t.above == 0 {
			s.set(t.class, p)
			return
		}
		tiers = &s.tiers
	}
	if t.above != 0 {
		*tiers = putTier(*tiers, t.above, t.class, p)
		return
	}
	d.dropVariants(t.class)
	d.stated[t.class] = true
	r.base.set(t.class, p)
}

// dropVariants forgets the long-prompt and service prices of a class: who
// states a price means it for every call, unless he states the others too.
func (d *reader) dropVariants(c Class) {
	for i := range d.row.tiers {
		d.row.tiers[i].clear(c)
	}
	for i := range d.row.services {
		s := &d.row.services[i]
		s.clear(c)
		for j := range s.tiers {
			s.tiers[j].clear(c)
		}
	}
}

// freeOf makes a stated zero mean free: what would still cost something beside
// it is forgotten unless it was stated too.
func (d *reader) freeOf(base Class, dependents []Class) {
	if p, ok := d.row.base.get(base); !ok || p != 0 || !d.stated[base] {
		return
	}
	for _, c := range dependents {
		if !d.stated[c] {
			d.row.base.clear(c)
			d.dropVariants(c)
		}
	}
}

func isNull(raw json.RawMessage) bool {
	s := strings.TrimSpace(string(raw))
	return s == "" || s == "null" || s == `""`
}

func number(raw json.RawMessage) string {
	s := strings.TrimSpace(string(raw))
	if len(s) >= 2 && s[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return strings.TrimSpace(text)
		}
	}
	return s
}

func (d *reader) price(key string, raw json.RawMessage) (unit.Price, bool) {
	s := number(raw)
	p, err := unit.ParsePrice(s)
	if err != nil && d.coarse {
		if p, ok := roundPrice(s); ok {
			d.rounded = append(d.rounded, key)
			return p, true
		}
	}
	if err != nil {
		d.fault(key, err)
		return 0, false
	}
	return p, true
}

// roundPrice rounds half up to the pico-dollar; it refuses what is no price for
// another reason.
func roundPrice(s string) (unit.Price, bool) {
	if len(s) > 40 {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f < 1e6) {
		return 0, false
	}
	r := new(big.Rat)
	if r.SetFloat64(f) == nil {
		return 0, false
	}
	r.Mul(r, big.NewRat(1_000_000_000_000, 1)).Add(r, big.NewRat(1, 2))
	q := new(big.Int).Quo(r.Num(), r.Denom())
	return unit.Price(q.Int64()), q.IsInt64()
}

func (d *reader) search(raw json.RawMessage) {
	var sizes map[string]json.RawMessage
	if err := json.Unmarshal(raw, &sizes); err != nil {
		d.fault(keySearch, errors.New("want an object of prices by search_context_size"))
		return
	}
	for _, e := range [...]struct {
		name string
		c    Class
	}{{"search_context_size_low", SearchLow}, {"search_context_size_medium", Search}, {"search_context_size_high", SearchHigh}} {
		if v, ok := sizes[e.name]; ok && !isNull(v) {
			if p, ok := d.price(keySearch+"."+e.name, v); ok {
				d.row.base.set(e.c, p)
			}
		}
	}
	if _, ok := d.row.base.get(Search); ok {
		return
	}
	for _, c := range [...]Class{SearchHigh, SearchLow} {
		if p, ok := d.row.base.get(c); ok {
			d.row.base.set(Search, p)
			return
		}
	}
}

// tiered reads a list of {"range": [from, to], prices…}; the range that starts
// at 0 is the base.
func (d *reader) tiered(raw json.RawMessage) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		d.fault(keyTiered, errors.New("want a list of objects"))
		return
	}
	for i, entry := range list {
		at := keyTiered + "[" + strconv.Itoa(i) + "]"
		var bounds []float64
		if err := json.Unmarshal(entry["range"], &bounds); err != nil || len(bounds) == 0 || bounds[0] < 0 || bounds[0] > 1e12 {
			d.fault(at, errors.New("want range: [from, to] in tokens"))
			continue
		}
		names := make([]string, 0, len(entry))
		for k := range entry {
			names = append(names, k)
		}
		sort.Strings(names)
		for _, k := range names {
			t, ok := parseKey(k)
			if !ok || t.above != 0 || !t.class.ofToken() || isNull(entry[k]) {
				continue
			}
			if p, ok := d.price(at+"."+k, entry[k]); ok {
				t.above = int64(bounds[0])
				d.put(t, p)
			}
		}
	}
}

func (d *reader) factorsOf(raw json.RawMessage) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		d.fault(keyFactors, errors.New("want an object of factors"))
		return
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		if !isNull(m[k]) {
			d.putFactor(keyFactors+"."+k, k, m[k])
		}
	}
}

func (d *reader) putFactor(key, name string, raw json.RawMessage) {
	s := number(raw)
	r, ok := new(big.Rat).SetString(s)
	if len(s) > 20 || !ok || r.Sign() <= 0 || r.Cmp(big.NewRat(1000, 1)) > 0 || strings.ContainsAny(s, "eE/") {
		d.fault(key, fmt.Errorf("%q is no factor between 0 and 1000", s))
		return
	}
	r.Mul(r, big.NewRat(one, 1))
	if !r.IsInt() {
		d.fault(key, fmt.Errorf("factor %q has more than six decimals", s))
		return
	}
	ppm := r.Num().Uint64()
	for i := range d.row.factors {
		if d.row.factors[i].name == name {
			d.row.factors[i].ppm = ppm
			return
		}
	}
	d.row.factors = append(d.row.factors, factor{name, ppm})
}
