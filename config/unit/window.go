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

// years bounds what a window may count. Beyond it durations would wrap, and a
// budget would never reset or reset all the time.
const years = 100

// longest is the most of a unit that a window may count.
func longest(unit string) int {
	switch unit {
	case "s":
		return years * 366 * 24 * 3600
	case "m":
		return years * 366 * 24 * 60
	case "h":
		return years * 366 * 24
	case "d":
		return years * 366
	case "w":
		return years * 53
	}
	return years * 12
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
	w := Window{N: n}
	switch rest := s[i:]; {
	case len(rest) >= 2 && rest[:2] == "mo":
		w.Unit = "mo"
	case rest[0] == 's' || rest[0] == 'm' || rest[0] == 'h' || rest[0] == 'd' || rest[0] == 'w':
		w.Unit = rest[:1]
	default:
		return Window{}, fmt.Errorf("duration %q: want a number and one of s, m, h, d, w, mo", s)
	}
	if n > longest(w.Unit) {
		return Window{}, fmt.Errorf("duration %q: longer than %d years", s, years)
	}
	return w, nil
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
	switch {
	case w.Endless():
		return time.Time{}, time.Time{}
	case w.Unit == "s" || w.Unit == "m" || w.Unit == "h":
		return w.clockSpan(at, midnight(y, mo, d, loc), midnight(y, mo, d+1, loc))
	case w.Unit == "d" && w.N == 1:
		return midnight(y, mo, d, loc), midnight(y, mo, d+1, loc)
	case w.Unit == "w" && w.N == 1, w.Unit == "d" && w.N == 7:
		d -= (int(at.Weekday()) + 6) % 7
		return midnight(y, mo, d, loc), midnight(y, mo, d+7, loc)
	case w.Unit == "mo" && w.N == 1, w.Unit == "d" && w.N == 30:
		return midnight(y, mo, 1, loc), midnight(y, mo+1, 1, loc)
	case w.Unit == "mo":
		k := monthIndex(at) - floorMod(monthIndex(at)-monthIndex(anchor.In(loc)), w.N)
		return midnight(0, time.Month(k+1), 1, loc), midnight(0, time.Month(k+1+w.N), 1, loc)
	}
	n := w.N
	if w.Unit == "w" {
		n *= 7
	}
	day := dayIndex(at) - floorMod(dayIndex(at)-dayIndex(anchor.In(loc)), n)
	return midnight(1970, 1, 1+day, loc), midnight(1970, 1, 1+day+n, loc)
}

// midnight is the first moment of a day. Where clocks change at midnight there
// may be none, or two.
func midnight(y int, mo time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, mo, d, 0, 0, 0, 0, loc)
	if h, m, s := t.Clock(); h >= 12 { // shown as the evening before: the day begins where the gap ends
		return t.Add(24*time.Hour - time.Duration(h*3600+m*60+s)*time.Second)
	}
	for e := t.Add(-30 * time.Minute); e.Day() == t.Day(); e = t.Add(-30 * time.Minute) {
		t = e
	}
	return t
}

func (w Window) clockSpan(at, midnight, next time.Time) (start, end time.Time) {
	unit, within := time.Second, time.Minute
	switch w.Unit {
	case "m":
		unit, within = time.Minute, time.Hour
	case "h":
		unit, within = time.Hour, 24*time.Hour
	}
	step := time.Duration(w.N) * unit
	if step > within { // longer than the unit above: count on from 1970
		over := time.Duration(at.Unix()%int64(step/time.Second)) * time.Second
		if over < 0 {
			over += step
		}
		s := at.Truncate(time.Second).Add(-over)
		return s, s.Add(step)
	}
	base, limit := midnight, next
	if within < 24*time.Hour {
		base = midnight.Add(at.Sub(midnight).Truncate(within))
		if hour := base.Add(within); hour.Before(next) {
			limit = hour
		}
	}
	s := base.Add(at.Sub(base).Truncate(step))
	e := s.Add(step)
	if e.After(limit) {
		e = limit
	}
	return s, e
}

func monthIndex(t time.Time) int { return t.Year()*12 + int(t.Month()) - 1 }

func dayIndex(t time.Time) int {
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func floorMod(a, n int) int { return ((a % n) + n) % n }
