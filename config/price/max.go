package price

import (
	"math"

	"tollgate/config/unit"
)

// Shape is what is known of a call before it is made. The zero values of its
// flags mean the worst.
type Shape struct {
	Input, Output int64
	Searches      int64  // the most web searches it may make
	Images        int64  // pictures asked for
	Queries       int64  // rerank and search units
	Characters    int64  // of text to be spoken
	Millis        int64  // of audio to be heard
	Tier          string // service tier asked for
	Speed, Geo    string
	NoMedia       bool // neither audio nor images, in or out
	NoHourWrites  bool // asks for no hour-long cache entries
}

// Max is the most that a call with at most these counts can cost at the
// standard service tier: every token at the dearest class and length tier that
// could apply, rounded up. Reservations are made of it.
func Max(r *Row, inputTokens, outputTokens int64) unit.Money {
	return MaxFor(r, &Shape{Input: inputTokens, Output: outputTokens})
}

// MaxFor is Max for a call of which more is known.
func MaxFor(r *Row, s *Shape) unit.Money {
	if !r.Priced() {
		return 0
	}
	fixed, perOutput := r.worst(s)
	q, rest := fixed.add(perOutput.times(uint64(clamp(s.Output)))).nano()
	if rest > 0 {
		q = q.Add(1)
	}
	return q
}

// AffordableOutput is the most output tokens with Max(r, inputTokens, n) within
// the budget; 0 when not even the input is. Free output is without bound.
func AffordableOutput(r *Row, inputTokens int64, budget unit.Money) int64 {
	return AffordableFor(r, &Shape{Input: inputTokens}, budget)
}

// AffordableFor is AffordableOutput for a call of which more is known.
func AffordableFor(r *Row, s *Shape, budget unit.Money) int64 {
	if !r.Priced() {
		return math.MaxInt64
	}
	if budget < 0 {
		return 0
	}
	fixed, perOutput := r.worst(s)
	free, ok := wide{lo: uint64(budget)}.times(attoPerNano).sub(fixed)
	switch {
	case !ok:
		return 0
	case perOutput == wide{}:
		return math.MaxInt64
	}
	return free.over(perOutput)
}

// worst gives what a call costs before its first output token, and the most
// that each output token adds.
func (r *Row) worst(s *Shape) (fixed, perOutput wide) {
	in := clamp(s.Input)
	ppm := max(r.factorOf(s.Geo, s.Speed), one)
	ins := [...]Class{Input, CacheRead, CacheWrite5m, CacheWrite1h, InputAudio, InputImage, CacheReadAudio, CacheReadImage}
	outs := [...]Class{Output, Reasoning, OutputAudio, OutputImage}
	pick := func(sel *selection, c Class) wide {
		if s.NoMedia && (c == InputAudio || c == InputImage || c == CacheReadAudio || c == CacheReadImage || c == OutputAudio || c == OutputImage) ||
			s.NoHourWrites && c == CacheWrite1h {
			return wide{}
		}
		p, factor, _, _ := sel.resolve(c)
		return product(1, p, factor)
	}
	var perInput wide
	consider := func(prompt int64, tierName string) {
		sel := r.selection(prompt, tierName)
		sel.factor = ppm
		for _, c := range ins {
			perInput = larger(perInput, pick(&sel, c))
		}
		for _, c := range outs {
			perOutput = larger(perOutput, pick(&sel, c))
		}
	}
	// The provider may serve a named tier as standard, and the count is a
	// bound: a shorter prompt may be cheaper by the piece or dearer.
	for _, name := range [...]string{"", s.Tier} {
		consider(0, name)
		for i := range r.tiers {
			if in > r.tiers[i].above {
				consider(r.tiers[i].above+1, name)
			}
		}
		if svc := r.service(name); svc != nil {
			for i := range svc.tiers {
				if in > svc.tiers[i].above {
					consider(svc.tiers[i].above+1, name)
				}
			}
		}
		if s.Tier == "" {
			break
		}
	}
	fixed = perInput.times(uint64(in))
	sel := r.selection(in, "")
	for _, fee := range [...]struct {
		c     Class
		count int64
	}{{PerRequest, 1}, {OutputPicture, s.Images}, {Query, s.Queries}, {InputCharacter, s.Characters}, {InputSecond, s.Millis}} {
		if p, factor, ok := sel.find(fee.c); ok {
			if fee.c == InputSecond {
				factor /= 1000
			}
			fixed = fixed.add(product(fee.count, p, factor))
		}
	}
	var search wide
	for _, c := range [...]Class{SearchLow, Search, SearchHigh} {
		if p, factor, ok := sel.find(c); ok {
			search = larger(search, product(clamp(s.Searches), p, factor))
		}
	}
	return fixed.add(search), perOutput
}

func larger(a, b wide) wide {
	if a.hi > b.hi || a.hi == b.hi && a.lo > b.lo {
		return a
	}
	return b
}
