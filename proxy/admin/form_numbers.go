package admin

import (
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/unit"
)

// int reads a whole number. Numbers in strings and floats without a fraction
// count, as they do in LiteLLM's models.
func (f *form) int(name string) field[int64] {
	return read(f, name, func(v jsontext.Value) (int64, bool) { return f.intValue(name, v) })
}

func (f *form) intValue(name string, v jsontext.Value) (int64, bool) {
	digits, bad := string(v), "int_from_float"
	msg := "Input should be a valid integer, got a number with a fractional part"
	switch v.Kind() {
	case '0':
	case '"':
		digits, bad = strings.TrimSpace(text(v)), "int_parsing"
		msg = "Input should be a valid integer, unable to parse string as an integer"
	default:
		f.fault(name, "int_type", "Input should be a valid integer")
		return 0, false
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n, true
	}
	x, err := strconv.ParseFloat(digits, 64)
	switch {
	case err == nil && x == math.Trunc(x) && math.Abs(x) < 1<<53:
		return int64(x), true
	case err == nil && x == math.Trunc(x):
		f.fault(name, "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
		return 0, false
	}
	f.fault(name, bad, msg)
	return 0, false
}

// limit is a rate limit: a whole number that is not negative.
func (f *form) limit(name string) field[int64] {
	n := f.int(name)
	if n.set && n.v < 0 {
		f.invalid(name, name+" cannot be negative")
	}
	return n
}

// money is an amount in dollars. It is read from its digits, not by way of a
// float, so that what was sent is what is kept.
func (f *form) money(name string) field[unit.Money] {
	return read(f, name, func(v jsontext.Value) (unit.Money, bool) { return f.moneyValue(name, v) })
}

func (f *form) moneyValue(name string, v jsontext.Value) (unit.Money, bool) {
	digits := string(v)
	switch v.Kind() {
	case '0':
	case '"':
		digits = text(v)
		if _, err := strconv.ParseFloat(strings.TrimSpace(digits), 64); err != nil {
			f.fault(name, "float_parsing", "Input should be a valid number, unable to parse string as a number")
			return 0, false
		}
	default:
		f.fault(name, "float_type", "Input should be a valid number")
		return 0, false
	}
	m, err := unit.ParseMoney(digits)
	if err != nil {
		f.invalid(name, name+" is not an amount of money that can be kept (at most 9.2 billion dollars)")
		return 0, false
	}
	return m, true
}

// budget is an amount that may not be negative.
func (f *form) budget(name string) field[unit.Money] {
	m := f.money(name)
	if m.set && m.v < 0 {
		f.invalid(name, name+" cannot be negative")
	}
	return m
}

func (f *form) bool(name string) field[bool] {
	return read(f, name, func(v jsontext.Value) (bool, bool) {
		s := string(v)
		if v.Kind() == '"' {
			s = strings.ToLower(text(v))
		}
		switch s {
		case "true", "1", "yes", "on", "y", "t":
			return true, true
		case "false", "0", "no", "off", "n", "f":
			return false, true
		}
		if k := v.Kind(); k == '"' || k == '0' {
			f.fault(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input")
		} else {
			f.fault(name, "bool_type", "Input should be a valid boolean")
		}
		return false, false
	})
}

// window is a duration in LiteLLM's notation, checked and kept as it came.
func (f *form) window(name string) field[string] {
	s := f.str(name)
	if s.set {
		f.checkWindow(name, s.v)
	}
	return s
}

// checkWindow notes a duration that cannot be read, or that is so long that
// times after it have no written form.
func (f *form) checkWindow(name, v string) {
	w, err := unit.ParseWindow(v)
	days := map[string]int{"s": 24 * 3600, "m": 24 * 60, "h": 24, "d": 1}
	most := map[string]int{"w": longestDays / 7, "mo": longestDays / 30}
	for u, n := range days {
		most[u] = longestDays * n
	}
	switch {
	case err != nil:
		f.invalid(name, err.Error())
	case w.N > most[w.Unit]:
		f.invalid(name, "a duration may not be longer than a hundred years")
	}
}

const longestDays = 36600
