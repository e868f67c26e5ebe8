// Package unit holds the measures the whole house agrees on: money, prices,
// budget windows, clocks and ids. It knows nothing of keys, models or requests.
package unit

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Money is an amount in nano-dollars (1e-9 USD). Balances, costs and limits are
// Money everywhere; floats appear only when an amount is shown.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1_000_000_000

// MaxMoney is the largest amount, about 9.2 billion dollars.
const MaxMoney Money = math.MaxInt64

// ErrMoney is wrapped by every refused amount.
var ErrMoney = errors.New("not an amount of money")

// USD gives the amount as a float, for display and for LiteLLM's JSON only.
func (m Money) USD() float64 { return float64(m) / float64(Dollar) }

// Add returns m+n, saturating at the ends so that a sum never wraps into credit.
func (m Money) Add(n Money) Money {
	s := m + n
	if (n > 0 && s < m) || (n < 0 && s > m) {
		if n > 0 {
			return MaxMoney
		}
		return math.MinInt64
	}
	return s
}

// String shows the amount as decimal dollars without trailing zeros.
func (m Money) String() string {
	return trimDecimal(int64(m), 9)
}

// ParseMoney reads decimal or scientific dollars ("100", "0.05", "1e-3").
// Digits beyond nano-dollars are rounded half up, once.
func ParseMoney(s string) (Money, error) {
	v, err := parseScaled(s, int64(Dollar), false)
	return Money(v), err
}

// MoneyFromUSD converts a JSON number's float form, rounded to the nano-dollar.
func MoneyFromUSD(f float64) (Money, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) > 9e9 {
		return 0, fmt.Errorf("%w: %v", ErrMoney, f)
	}
	return Money(math.Round(f * float64(Dollar))), nil
}

// Price is pico-dollars (1e-12 USD) per unit: per token, character, second.
// Nano is too coarse here: 0.0375 USD per million tokens is 37.5 nano a token.
type Price int64

// ParsePrice reads decimal or scientific dollars per unit ("2.5e-06") and
// refuses what a whole number of pico-dollars cannot hold.
func ParsePrice(s string) (Price, error) {
	v, err := parseScaled(s, 1_000_000_000_000, true)
	if err == nil && v < 0 {
		return 0, fmt.Errorf("%w: price %q is negative", ErrMoney, s)
	}
	return Price(v), err
}

// USD gives dollars per unit, for display only.
func (p Price) USD() float64 { return float64(p) / 1e12 }

func parseScaled(s string, scale int64, exact bool) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 || strings.ContainsAny(s, "/xX_pP") {
		return 0, fmt.Errorf("%w: %q", ErrMoney, s)
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 5 {
		return 0, fmt.Errorf("%w: %q", ErrMoney, s)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrMoney, s)
	}
	r.Mul(r, new(big.Rat).SetInt64(scale))
	if !r.IsInt() {
		if exact {
			return 0, fmt.Errorf("%w: %q is finer than a pico-dollar", ErrMoney, s)
		}
		half := big.NewRat(1, 2)
		if r.Sign() < 0 {
			half.Neg(half)
		}
		r.Add(r, half)
	}
	q := new(big.Int).Quo(r.Num(), r.Denom())
	if !q.IsInt64() {
		return 0, fmt.Errorf("%w: %q is out of range", ErrMoney, s)
	}
	return q.Int64(), nil
}

func trimDecimal(v int64, digits int) string {
	neg := v < 0
	u := uint64(v)
	if neg {
		u = -u
	}
	pow := uint64(1)
	for range digits {
		pow *= 10
	}
	s := fmt.Sprintf("%d", u/pow)
	if f := u % pow; f != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%0*d", digits, f), "0")
	}
	if neg {
		s = "-" + s
	}
	return s
}
