package price

import (
	"math"
	"math/bits"

	"tollgate/config/unit"
)

// wide is an amount in atto-dollars (1e-18 USD): pico-dollars times a factor in
// parts per million. 128 bits hold every product of a count and a price; what
// would not fit stays at the top, never wraps.
type wide struct{ hi, lo uint64 }

const attoPerNano = 1_000_000_000

var wideMax = wide{math.MaxUint64, math.MaxUint64}

func (a wide) add(b wide) wide {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, carry := bits.Add64(a.hi, b.hi, carry)
	if carry != 0 {
		return wideMax
	}
	return wide{hi, lo}
}

// sub is a-b, and false when b is larger.
func (a wide) sub(b wide) (wide, bool) {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, borrow := bits.Sub64(a.hi, b.hi, borrow)
	return wide{hi, lo}, borrow == 0
}

func (a wide) times(n uint64) wide {
	hi1, lo1 := bits.Mul64(a.hi, n)
	hi0, lo0 := bits.Mul64(a.lo, n)
	hi, carry := bits.Add64(lo1, hi0, 0)
	if hi1 != 0 || carry != 0 {
		return wideMax
	}
	return wide{hi, lo0}
}

// product is count × price × factor.
func product(count int64, p unit.Price, ppm uint64) wide {
	if count <= 0 || p <= 0 {
		return wide{}
	}
	hi, lo := bits.Mul64(uint64(count), uint64(p))
	return wide{hi, lo}.times(ppm)
}

// nano divides into nano-dollars and what is left over.
func (a wide) nano() (q unit.Money, rest uint64) {
	if a.hi >= attoPerNano {
		return unit.MaxMoney, 0
	}
	n, rest := bits.Div64(a.hi, a.lo, attoPerNano)
	if n > math.MaxInt64 {
		return unit.MaxMoney, 0
	}
	return unit.Money(n), rest
}

// over divides by a non-zero divisor, rounding down, at most MaxInt64.
func (a wide) over(d wide) int64 {
	if d.hi == 0 {
		if a.hi >= d.lo {
			return math.MaxInt64
		}
		q, _ := bits.Div64(a.hi, a.lo, d.lo)
		return int64(min(q, math.MaxInt64))
	}
	// A price beyond 64 bits of atto-dollars is more than 18 dollars a unit:
	// counting up by doubling is enough for it.
	var q int64
	for step := int64(1) << 62; step > 0; step >>= 1 {
		if q > math.MaxInt64-step {
			continue
		}
		if p := d.times(uint64(q + step)); p != wideMax {
			if _, ok := a.sub(p); ok {
				q += step
			}
		}
	}
	return q
}
