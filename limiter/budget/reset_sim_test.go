package budget_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the zones of the table, on any machine

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/limiter/budget"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func moment(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05", text)
	require.NoError(t, err)
	return at
}

// Days reset at midnight, weeks on Monday, months on the first, in the time zone
// of the gateway; hours, minutes and seconds at multiples; other numbers of days
// and months count from the anchor. All moments are UTC. One node spends before
// the reset, one is in a call over it, and no node has any money a millisecond
// before it, nor lacks any from that second on.
func TestBudgetsResetAtTheExactSecondAlikeOnAllNodes(t *testing.T) {
	cases := []struct {
		every, zone, anchor string
		seen, resets        string
	}{
		{"1d", "UTC", "", "2000-01-03 17:00:00", "2000-01-04 00:00:00"},
		{"1d", "Europe/Berlin", "", "2000-01-03 17:00:00", "2000-01-03 23:00:00"},
		{"1d", "Europe/Berlin", "", "2000-03-26 00:30:00", "2000-03-26 22:00:00"}, // a day of 23 hours
		{"1d", "Asia/Kolkata", "", "2000-01-03 18:29:00", "2000-01-03 18:30:00"},
		{"24h", "UTC", "", "2000-01-03 13:10:00", "2000-01-04 00:00:00"},
		{"7d", "UTC", "", "2000-01-05 10:00:00", "2000-01-10 00:00:00"},
		{"1w", "America/New_York", "", "2000-01-09 23:00:00", "2000-01-10 05:00:00"},
		{"30d", "UTC", "", "2000-02-10 10:00:00", "2000-03-01 00:00:00"},
		{"1mo", "Asia/Tokyo", "", "2000-02-10 10:00:00", "2000-02-29 15:00:00"},
		{"1month", "UTC", "", "2000-01-31 23:00:00", "2000-02-01 00:00:00"},
		{"2mo", "UTC", "2000-01-15 12:00:00", "2000-02-20 10:00:00", "2000-03-01 00:00:00"},
		{"3d", "UTC", "2000-01-02 15:00:00", "2000-01-06 10:00:00", "2000-01-08 00:00:00"},
		{"2w", "UTC", "2000-01-02 15:00:00", "2000-01-06 10:00:00", "2000-01-16 00:00:00"},
		{"6h", "UTC", "", "2000-01-03 13:10:00", "2000-01-03 18:00:00"},
		{"5h", "UTC", "", "2000-01-03 21:00:00", "2000-01-04 00:00:00"}, // the day's last one is shorter
		{"30min", "UTC", "", "2000-01-03 13:10:00", "2000-01-03 13:30:00"},
		{"45s", "UTC", "", "2000-01-03 13:10:46", "2000-01-03 13:11:00"},
	}
	for _, c := range cases {
		t.Run(c.every+" "+c.zone+" "+c.seen, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				every, err := unit.ParseWindow(c.every)
				require.NoError(t, err)
				def := model.BudgetDef{Limit: unit.Dollar, Window: every}
				if c.anchor != "" {
					def.Anchor = moment(t, c.anchor)
				}
				loc := zone(t, c.zone)
				resetsOnAllNodes(t, def, loc, moment(t, c.seen), moment(t, c.resets))
			})
		})
	}
}

func resetsOnAllNodes(t *testing.T, def model.BudgetDef, loc *time.Location, seen, resets time.Time) {
	w := newWorld()
	w.bank = budget.NewBank(w.resolve, func() *time.Location { return loc })
	c := w.set(scope("k"), def)
	time.Sleep(time.Until(seen))
	w.bank.Open(time.Now(), c.Scope)
	v, ok := w.bank.Look(c.Scope, "", 0)
	require.True(t, ok)
	require.Equal(t, resets.Unix(), v.End, "%s", time.Unix(v.End, 0).UTC())

	time.Sleep(time.Until(resets.Add(-13 * time.Second)))
	var nodes []*budget.Account
	for _, name := range []budget.NodeID{"a", "b", "c"} {
		a, stop := w.node(t, name, 1, budget.Recovery{})
		defer stop()
		nodes = append(nodes, a)
	}
	old := reserve(t, nodes[0], 60*cent, c)
	nodes[0].Settle(old, 60*cent)
	over := reserve(t, nodes[1], 40*cent, c)
	for _, a := range nodes {
		require.True(t, resets.Equal(refused(t, a, cent, c).Resets))
	}
	time.Sleep(time.Until(resets.Add(-time.Millisecond)))
	for _, a := range nodes {
		// A call that can wait would get money of the new window: this one cannot.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		require.Error(t, a.Reserve(ctx, []budget.Charge{c}, cent, cent, &budget.Hold{}), "money before the reset")
		cancel()
	}

	time.Sleep(time.Until(resets))
	for i, part := range []unit.Money{50 * cent, 30 * cent, 20 * cent} {
		h := reserve(t, nodes[i], part, c)
		_, window := h.Window(0)
		require.Equal(t, resets.Unix(), window)
		nodes[i].Settle(h, part)
	}
	require.Less(t, time.Since(resets), time.Second)
	nodes[1].Settle(over, 40*cent) // of the window that admitted it
	for _, a := range nodes {
		require.False(t, resets.Equal(refused(t, a, cent, c).Resets))
	}
	for _, a := range nodes {
		require.NoError(t, a.Flush(t.Context()))
	}
	v, _ = w.bank.Look(c.Scope, "", 0)
	require.Equal(t, resets.Unix(), v.Window)
	require.Equal(t, unit.Dollar, v.Settled, "what was spent before counts after")
}
