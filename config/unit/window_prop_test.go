package unit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/config/unit"
)

// zones: no change of clocks, one at two in the morning, one at midnight, one of
// half an hour, and one whose midnight came twice.
var zones = []string{"UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata", "America/Sao_Paulo"}

func drawWindow(t *rapid.T) unit.Window {
	u := rapid.SampledFrom([]string{"s", "m", "h", "d", "w", "mo"}).Draw(t, "unit")
	return unit.Window{N: rapid.IntRange(1, 1200).Draw(t, "n"), Unit: u}
}

func drawTime(t *rapid.T, name string) time.Time {
	// 1980 to 2060
	return time.Unix(rapid.Int64Range(315_532_800, 2_840_140_800).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns"))
}

func TestWindowsHoldTheirMomentAndTileTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		w, at, anchor := drawWindow(t), drawTime(t, "at"), drawTime(t, "anchor")
		start, end := w.Span(at, anchor, loc)
		if at.Before(start) || !at.Before(end) {
			t.Fatalf("%s at %s is not in [%s, %s)", w, at.In(loc), start, end)
		}
		for _, inside := range []time.Time{start, end.Add(-time.Nanosecond)} {
			if s, e := w.Span(inside, anchor, loc); !s.Equal(start) || !e.Equal(end) {
				t.Fatalf("%s: [%s, %s) has %s, which says [%s, %s)", w, start, end, inside.In(loc), s, e)
			}
		}
		if s, _ := w.Span(end, anchor, loc); !s.Equal(end) {
			t.Fatalf("%s: after [%s, %s) comes one from %s", w, start, end, s)
		}
		if _, e := w.Span(start.Add(-time.Nanosecond), anchor, loc); !e.Equal(start) {
			t.Fatalf("%s: before [%s, %s) ends one at %s", w, start, end, e)
		}
	})
}

func TestWindowsRoundTripThroughText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWindow(t)
		got, err := unit.ParseWindow(w.String())
		if err != nil || got != w {
			t.Fatalf("%v became %v: %v", w, got, err)
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{"7d", "1mo", "30min", "999999999999s", "None", "0d", "1"} {
		f.Add(s)
	}
	at := time.Date(2026, 11, 25, 14, 37, 48, 5, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		w, err := unit.ParseWindow(s)
		if err != nil || w.Endless() {
			return
		}
		start, end := w.Span(at, at, nil)
		if at.Before(start) || !at.Before(end) || !w.Add(at).After(at) {
			t.Fatalf("%q: [%s, %s), then %s", s, start, end, w.Add(at))
		}
	})
}
