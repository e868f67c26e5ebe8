package unit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
)

func TestDurationsAreReadAsPrefixes(t *testing.T) {
	for text, want := range map[string]unit.Window{
		"30s": {30, "s"}, "5m": {5, "m"}, "30min": {30, "m"}, "1h": {1, "h"}, "1hr": {1, "h"}, "24h": {24, "h"}, "1d": {1, "d"},
		"7d": {7, "d"}, "30days": {30, "d"}, "1w": {1, "w"}, "1mo": {1, "mo"}, "1month": {1, "mo"}, "12mo": {12, "mo"},
		"": {}, "None": {}, "none": {}, "null": {}, "007d": {7, "d"},
	} {
		got, err := unit.ParseWindow(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestDurationsThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{"d", "0d", "-1d", "1", "1y", "1.5h", " 1d", "1 d", "x", "99999999999999999999d", "1D"} {
		_, err := unit.ParseWindow(text)
		require.Error(t, err, text)
		require.Contains(t, err.Error(), "want a number and one of")
	}
}

func TestDurationsThatWouldWrapAreRefused(t *testing.T) {
	for _, text := range []string{"9223372036854775807s", "300000000000m", "5124095577h", "36601d", "5301w", "1201mo", "9223372036854775807mo"} {
		_, err := unit.ParseWindow(text)
		require.ErrorContains(t, err, "longer than 100 years", text)
	}
	for _, text := range []string{"3162240000s", "878400h", "36600d", "5300w", "1200mo"} {
		w, err := unit.ParseWindow(text)
		require.NoError(t, err, text)
		at := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
		start, end := w.Span(at, at, nil)
		require.False(t, start.After(at), text)
		require.True(t, end.After(at), text)
		require.True(t, w.Add(at).After(at.AddDate(99, 0, 0)), text)
	}
}

func TestWindowsFollowTheCalendar(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	at := time.Date(2026, 11, 25, 14, 37, 48, 5, time.UTC) // a Wednesday
	anchor := time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		w          string
		loc        *time.Location
		start, end string
	}{
		{"30s", nil, "2026-11-25T14:37:30Z", "2026-11-25T14:38:00Z"},
		{"45s", nil, "2026-11-25T14:37:45Z", "2026-11-25T14:38:00Z"},
		{"15m", nil, "2026-11-25T14:30:00Z", "2026-11-25T14:45:00Z"},
		{"45m", nil, "2026-11-25T14:00:00Z", "2026-11-25T14:45:00Z"},
		{"1h", nil, "2026-11-25T14:00:00Z", "2026-11-25T15:00:00Z"},
		{"5h", nil, "2026-11-25T10:00:00Z", "2026-11-25T15:00:00Z"},
		{"24h", nil, "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"},
		{"24h", berlin, "2026-11-24T23:00:00Z", "2026-11-25T23:00:00Z"},
		{"1d", nil, "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"},
		{"1d", berlin, "2026-11-24T23:00:00Z", "2026-11-25T23:00:00Z"},
		{"7d", nil, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"1w", nil, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"30d", nil, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"1mo", nil, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"3d", nil, "2026-11-23T00:00:00Z", "2026-11-26T00:00:00Z"},
		{"2w", nil, "2026-11-20T00:00:00Z", "2026-12-04T00:00:00Z"},
		{"3mo", nil, "2026-11-01T00:00:00Z", "2027-02-01T00:00:00Z"},
	} {
		w, err := unit.ParseWindow(tc.w)
		require.NoError(t, err)
		start, end := w.Span(at, anchor, tc.loc)
		require.Equal(t, []string{tc.start, tc.end}, []string{start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339)}, tc.w)
	}
}

func TestSundayBelongsToTheWeekThatBeganOnMonday(t *testing.T) {
	start, end := unit.Window{N: 7, Unit: "d"}.Span(time.Date(2026, 11, 29, 23, 59, 59, 0, time.UTC), time.Time{}, nil)
	require.Equal(t, "2026-11-23 2026-11-30", start.Format(time.DateOnly)+" "+end.Format(time.DateOnly))
}

func TestEndlessWindowHasNoEnds(t *testing.T) {
	start, end := unit.Window{}.Span(time.Now(), time.Now(), nil)
	require.True(t, start.IsZero())
	require.True(t, end.IsZero())
	require.True(t, unit.Window{}.Endless())
	require.Empty(t, unit.Window{}.String())
}

func TestMonthAddedToALongMonthEndsOnTheLastDay(t *testing.T) {
	for _, tc := range []struct{ w, from, to string }{
		{"1mo", "2026-01-31", "2026-02-28"}, {"1mo", "2028-01-31", "2028-02-29"}, {"12mo", "2028-02-29", "2029-02-28"},
		{"1mo", "2026-12-15", "2027-01-15"}, {"30d", "2026-01-31", "2026-03-02"}, {"2w", "2026-01-31", "2026-02-14"},
	} {
		w, err := unit.ParseWindow(tc.w)
		require.NoError(t, err)
		from, err := time.Parse(time.DateOnly, tc.from)
		require.NoError(t, err)
		require.Equal(t, tc.to, w.Add(from).Format(time.DateOnly), "%s + %s", tc.from, tc.w)
	}
}
