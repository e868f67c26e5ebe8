package price

import "tollgate/config/unit"

// Class is one thing that has a price of its own.
type Class uint8

// The classes. Token classes come first: tiers, service tiers, factors and the
// batch discount apply to them alone.
const (
	Input Class = iota
	CacheRead
	CacheReadAudio
	CacheReadImage
	CacheWrite5m
	CacheWrite1h
	InputAudio
	InputImage
	Output
	Reasoning
	OutputAudio
	OutputImage
	Citation

	PerRequest
	Query
	Page
	InputPicture // a whole image, not its tokens
	OutputPicture
	InputPixel
	OutputPixel
	InputSecond
	OutputSecond
	InputCharacter
	OutputCharacter
	SearchLow
	Search // medium context, and searches of unnamed size
	SearchHigh

	classes
)

const tokenClasses = PerRequest

func (c Class) ofToken() bool { return c < tokenClasses }

// Rates are prices by class. A class without a price differs from a class whose
// price is zero: free is the operator's or the provider's word.
type Rates struct {
	stated uint32
	price  [classes]unit.Price
}

func (t *Rates) get(c Class) (unit.Price, bool) {
	return t.price[c], t.stated&(1<<c) != 0
}

func (t *Rates) set(c Class, p unit.Price) {
	t.price[c] = p
	t.stated |= 1 << c
}

func (t *Rates) clear(c Class) {
	t.price[c] = 0
	t.stated &^= 1 << c
}

// tier holds the prices of prompts longer than above tokens; all tokens of such
// a call use them.
type tier struct {
	above int64
	Rates
}

// service holds the prices of one service tier: flex, priority or batches.
type service struct {
	name string
	Rates
	tiers []tier
}

// factor multiplies the token prices of calls served in a region or at a speed.
type factor struct {
	name string
	ppm  uint64
}

const one = 1_000_000 // a factor of 1, in parts per million

// selection is the set of price tables that one call looks into, dearest
// knowledge first: the service's long prompts, long prompts, the service, the
// base.
type selection struct {
	tables [4]*Rates
	own    [4]bool // the table belongs to the service
	batch  bool
	factor uint64
}

// find gives a class's price and the factor on it.
func (s *selection) find(c Class) (unit.Price, uint64, bool) {
	for i, t := range s.tables {
		if t == nil {
			continue
		}
		p, ok := t.get(c)
		if !ok {
			continue
		}
		if !c.ofToken() {
			return p, one, true
		}
		if s.batch && !s.own[i] {
			return p, s.factor / 2, true
		}
		return p, s.factor, true
	}
	return 0, 0, false
}

// substitute is the class whose price stands in for a class without one.
// The zero value never does: nothing stands in for the input price.
var substitute = [classes]Class{
	CacheRead:      Input,
	CacheReadAudio: CacheRead,
	CacheReadImage: CacheRead,
	CacheWrite5m:   Input,
	CacheWrite1h:   CacheWrite5m,
	InputAudio:     Input,
	InputImage:     Input,
	Reasoning:      Output,
	OutputAudio:    Output,
	OutputImage:    Output,
	SearchLow:      Search,
	SearchHigh:     Search,
}

// resolve is find with substitutes; used says which class's price it is.
func (s *selection) resolve(c Class) (p unit.Price, factor uint64, used Class, ok bool) {
	for {
		if p, factor, ok = s.find(c); ok {
			return p, factor, c, true
		}
		next := substitute[c]
		if next == Input && !substitutable(c) {
			return 0, 0, c, false
		}
		c = next
	}
}

func substitutable(c Class) bool {
	return c == CacheRead || c == CacheWrite5m || c == InputAudio || c == InputImage
}

// tierFor is the table for a prompt of this length, nil within the base.
func tierFor(tiers []tier, prompt int64) *Rates {
	for i := len(tiers) - 1; i >= 0; i-- {
		if prompt > tiers[i].above {
			return &tiers[i].Rates
		}
	}
	return nil
}

func putTier(tiers []tier, above int64, c Class, p unit.Price) []tier {
	i := 0
	for i < len(tiers) && tiers[i].above < above {
		i++
	}
	if i == len(tiers) || tiers[i].above != above {
		tiers = append(tiers, tier{})
		copy(tiers[i+1:], tiers[i:])
		tiers[i] = tier{above: above}
	}
	tiers[i].set(c, p)
	return tiers
}
