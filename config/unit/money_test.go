package unit_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/unit"
)

func TestMoneyIsReadAsWritten(t *testing.T) {
	for text, want := range map[string]unit.Money{
		"100": 100 * unit.Dollar, "0.05": unit.Dollar / 20, "1e-3": unit.Dollar / 1000, "1E3": 1000 * unit.Dollar, " 2 ": 2 * unit.Dollar,
		"0": 0, "-1.5": -unit.Dollar * 3 / 2, "0.000000001": 1, "0.0000000005": 1, "0.0000000004": 0, "-0.0000000005": -1,
		"9223372036.854775807": unit.MaxMoney, ".5": unit.Dollar / 2, "+1": unit.Dollar,
	} {
		got, err := unit.ParseMoney(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestWhatIsNoMoneyIsRefused(t *testing.T) {
	for _, text := range []string{"", " ", "abc", "1/3", "0x10", "1_000", "1e99999", "NaN", "Inf", "9223372036.854775808", "1e10", "--1", "1,5", "$5", string(make([]byte, 65))} {
		_, err := unit.ParseMoney(text)
		require.ErrorIs(t, err, unit.ErrMoney, text)
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e10, -1e10} {
		_, err := unit.MoneyFromUSD(f)
		require.ErrorIs(t, err, unit.ErrMoney)
	}
}

func TestPricesKeepEveryPicoDollarAndNothingFiner(t *testing.T) {
	for text, want := range map[string]unit.Price{"2.5e-06": 2_500_000, "0.0000000375": 37_500, "1e-12": 1, "0": 0, "15e-6": 15_000_000} {
		got, err := unit.ParsePrice(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"1e-13", "-1e-6", "x", "1e9"} {
		_, err := unit.ParsePrice(text)
		require.ErrorIs(t, err, unit.ErrMoney, text)
	}
}

func TestSumsSaturateAndNeverWrapIntoCredit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := unit.Money(rapid.Int64().Draw(t, "a")), unit.Money(rapid.Int64().Draw(t, "b"))
		want := new(big.Int).Add(big.NewInt(int64(a)), big.NewInt(int64(b)))
		switch {
		case want.Cmp(big.NewInt(math.MaxInt64)) > 0:
			want.SetInt64(math.MaxInt64)
		case want.Cmp(big.NewInt(math.MinInt64)) < 0:
			want.SetInt64(math.MinInt64)
		}
		if got := a.Add(b); int64(got) != want.Int64() {
			t.Fatalf("%d + %d = %d, want %s", a, b, got, want)
		}
	})
}

func TestMoneyRoundTripsThroughItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := unit.Money(rapid.Int64().Draw(t, "m"))
		got, err := unit.ParseMoney(m.String())
		if err != nil || got != m {
			t.Fatalf("%d is %q is %d: %v", m, m, got, err)
		}
	})
}

func TestMoneyOfAFloatIsTheNearestNanoDollar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-1_000_000_000_000, 1_000_000_000_000).Draw(t, "nano") // up to $1000: a float is exact enough
		got, err := unit.MoneyFromUSD(unit.Money(n).USD())
		if err != nil || int64(got) != n {
			t.Fatalf("%d became %d: %v", n, got, err)
		}
	})
}

func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"1", "0.05", "1e-3", "-1", "1/2", "0x1p4", "1e10", "9223372036.854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := unit.ParseMoney(s)
		if err != nil {
			return
		}
		if again, err := unit.ParseMoney(m.String()); err != nil || again != m {
			t.Fatalf("%q is %s is %s: %v", s, m, again, err)
		}
	})
}
