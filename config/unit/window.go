package unit

import (
	"fmt"
	"strconv"
	"time"
)

// Window is a budget's duration in LiteLLM's notation ("30s", "24h", "7d",
// "1w", "1mo"). The zero value never resets.
type Window struct {
	N    int
	Unit string // s, m, h, d, w, mo; empty: one window without end
}

// ParseWindow reads LiteLLM's durations: digits and a unit, matched as a
// prefix, so "30min" is 30m, "1hr" 1h and "1month" 1mo. "", "None" and "null"
// mean no reset.
func ParseWindow(s string) (Window, error) {
	switch s {
	case "", "None", "none", "null":
		return Window{}, nil
	}
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.Atoi(s[:i])
	if i == 0 || err != nil || n <= 0 || i == len(s) {
		return Window{}, fmt.Errorf("duration %q: want a number and one of s, m, h, d, w, mo", s)
	}
	switch rest := s[i:]; {
	case len(rest) >= 2 && rest[:2] == "mo":
		return Window{n, "mo"}, nil
	case rest[0] == 's' || rest[0] == 'm' || rest[0] == 'h' || rest[0] == 'd' || rest[0] == 'w':
		return Window{n, rest[:1]}, nil
	}
	return Window{}, fmt.Errorf("duration %q: want a number and one of s, m, h, d, w, mo", s)
}

// Endless reports whether the window never resets.
func (w Window) Endless() bool { return w.Unit == "" }

// String is LiteLLM's notation.
func (w Window) String() string {
	if w.Endless() {
		return ""
	}
	return strconv.Itoa(w.N) + w.Unit
}

// Add returns t plus the duration; months end on the last day when the day of
// the month does not exist. It is for expiry dates, not for windows.
func (w Window) Add(t time.Time) time.Time {
	switch w.Unit {
	case "s":
		return t.Add(time.Duration(w.N) * time.Second)
	case "m":
		return t.Add(time.Duration(w.N) * time.Minute)
	case "h":
		return t.Add(time.Duration(w.N) * time.Hour)
	case "d":
		return t.AddDate(0, 0, w.N)
	case "w":
		return t.AddDate(0, 0, 7*w.N)
	case "mo":
		y, m, d := t.Date()
		first := time.Date(y, m+time.Month(w.N), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
		if last := first.AddDate(0, 1, -1).Day(); d > last {
			d = last
		}
		return first.AddDate(0, 0, d-1)
	}
	return t
}

// Span gives the window that holds at: its start and its end. Windows follow
// the calendar of loc as LiteLLM's do: days begin at midnight, 7d and 1w on
// Monday, 30d and months on the first, hours, minutes and seconds on multiples
// within the next larger unit; other numbers of days count whole days from
// anchor. An endless window spans from the zero time to the zero time.
func (w Window) Span(at, anchor time.Time, loc *time.Location) (start, end time.Time) {
	if loc == nil {
		loc = time.UTC
	}
	at = at.In(loc)
	y, mo, d := at.Date()
	midnight := time.Date(y, mo, d, 0, 0, 0, 0, loc)
	switch {
	case w.Endless():
		return time.Time{}, time.Time{}
	case w.Unit == "s" || w.Unit == "m" || w.Unit == "h":
		return w.clockSpan(at, midnight)
	case w.Unit == "d" && w.N == 1:
		return midnight, midnight.AddDate(0, 0, 1)
	case w.Unit == "w" && w.N == 1, w.Unit == "d" && w.N == 7:
		s := midnight.AddDate(0, 0, -(int(at.Weekday())+6)%7)
		return s, s.AddDate(0, 0, 7)
	case w.Unit == "mo" && w.N == 1, w.Unit == "d" && w.N == 30:
		s := time.Date(y, mo, 1, 0, 0, 0, 0, loc)
		return s, s.AddDate(0, 1, 0)
	case w.Unit == "mo":
		k := monthIndex(at) - floorMod(monthIndex(at)-monthIndex(anchor.In(loc)), w.N)
		s := time.Date(k/12, time.Month(k%12+1), 1, 0, 0, 0, 0, loc)
		return s, s.AddDate(0, w.N, 0)
	}
	n := w.N
	if w.Unit == "w" {
		n *= 7
	}
	day := dayIndex(at) - floorMod(dayIndex(at)-dayIndex(anchor.In(loc)), n)
	s := time.Date(1970, 1, 1+day, 0, 0, 0, 0, loc)
	return s, s.AddDate(0, 0, n)
}

func (w Window) clockSpan(at, midnight time.Time) (time.Time, time.Time) {
	unit, within := time.Second, time.Minute
	switch w.Unit {
	case "m":
		unit, within = time.Minute, time.Hour
	case "h":
		unit, within = time.Hour, 24*time.Hour
	}
	step := time.Duration(w.N) * unit
	if step > within { // longer than the unit above: count on from 1970
		s := at.Add(-time.Duration(at.UnixNano() % int64(step)))
		return s, s.Add(step)
	}
	base := midnight
	if within < 24*time.Hour {
		base = midnight.Add(at.Sub(midnight).Truncate(within))
	}
	s := base.Add(at.Sub(base).Truncate(step))
	end := s.Add(step)
	if limit := base.Add(within); end.After(limit) {
		end = limit
	}
	return s, end
}

func monthIndex(t time.Time) int { return t.Year()*12 + int(t.Month()) - 1 }

func dayIndex(t time.Time) int {
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func floorMod(a, n int) int { return ((a % n) + n) % n }
