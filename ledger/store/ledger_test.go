package store_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

func settle(t testing.TB, l *store.Ledger, n uint64) uint64 {
	t.Helper()
	ref, err := l.Begin(sampleIntent(n))
	require.NoError(t, err)
	seq, err := l.Settle(ref, sampleEntry(n))
	require.NoError(t, err)
	return seq
}

func reopen(t testing.TB, l *store.Ledger, cfg store.Config) *store.Ledger {
	t.Helper()
	require.NoError(t, l.Close())
	return open(t, cfg)
}

func TestEntryComesBackAsItWasSettled(t *testing.T) {
	l := open(t, store.Config{})
	want := sampleEntry(7)
	want.Messages, want.Response, want.Request = []byte(`[{"role":"user"}]`), []byte(`{"id":"x"}`), []byte(`{"model":"gpt-4o"}`)
	seq, err := l.Settle(store.Ref{}, want)
	require.NoError(t, err)
	got, err := l.Get(seq)
	require.NoError(t, err)
	require.NoError(t, l.LoadBodies(got))
	require.Empty(t, cmp.Diff(want, got, exported))
}

func TestNumbersAreDenseWithinAnIncarnation(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir(), Incarnation: 5}
	l := open(t, cfg)
	for i := uint64(1); i <= 5; i++ {
		require.Equal(t, store.Seq(5, i), settle(t, l, i))
	}
	cfg.Incarnation = 9
	l = reopen(t, l, cfg)
	require.Equal(t, store.Seq(9, 1), settle(t, l, 6))
	var seqs []uint64
	for e, err := range l.Entries(0) {
		require.NoError(t, err)
		seqs = append(seqs, e.Seq)
	}
	require.Equal(t, []uint64{store.Seq(5, 1), store.Seq(5, 2), store.Seq(5, 3), store.Seq(5, 4), store.Seq(5, 5), store.Seq(9, 1)}, seqs)
}

func TestUsedIncarnationIsRefused(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir(), Incarnation: 5}
	l := open(t, cfg)
	settle(t, l, 1)
	require.NoError(t, l.Close())
	_, err := store.Open(cfg)
	require.ErrorContains(t, err, "incarnation 5")
}

func TestSettlingAgainReturnsTheFirstNumber(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	ref, err := l.Begin(sampleIntent(1))
	require.NoError(t, err)
	first, err := l.Settle(ref, sampleEntry(1))
	require.NoError(t, err)
	again := func(ref store.Ref) {
		t.Helper()
		got, err := l.Settle(ref, sampleEntry(1))
		require.NoError(t, err)
		require.Equal(t, first, got)
	}
	again(ref)         // from memory
	again(store.Ref{}) // without its intent
	require.NoError(t, l.CatchUp())
	again(ref) // from the index
	again(store.Ref{})
	l = reopen(t, l, cfg)
	again(store.Ref{})
	require.Equal(t, unit.Money(750_000), l.SpendOf(model.Scope{Dim: model.DimKey, ID: keyHash}))
}

func TestCallSettledByManyIsBookedOnce(t *testing.T) {
	l := open(t, store.Config{})
	ref, err := l.Begin(sampleIntent(1))
	require.NoError(t, err)
	seqs := make([]uint64, 32)
	var wg sync.WaitGroup
	for i := range seqs {
		wg.Go(func() { seqs[i], _ = l.Settle(ref, sampleEntry(1)) })
	}
	wg.Wait()
	for _, s := range seqs {
		require.Equal(t, seqs[0], s)
	}
	require.Equal(t, unit.Money(750_000), l.SpendOf(model.Scope{Dim: model.DimTeam, ID: "t-1"}))
}

func TestSettlementWithAnotherCallsIntentIsRefused(t *testing.T) {
	l := open(t, store.Config{})
	ref, err := l.Begin(sampleIntent(1))
	require.NoError(t, err)
	_, err = l.Settle(ref, sampleEntry(2))
	require.ErrorIs(t, err, store.ErrWrongRef)
}

// Budgets hear of the sums of the incarnations that are listed, and of no others.
func TestAnIncarnationThatSettledNothingItselfIsListedForTheCallsItLeftOpen(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir(), Incarnation: 3}
	l := open(t, cfg)
	_, err := l.Begin(sampleIntent(1)) // never settled
	require.NoError(t, err)

	cfg.Incarnation = 4
	l = reopen(t, l, cfg)
	known, err := l.Incarnations()
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, known)
	sums, err := l.Settled(3)
	require.NoError(t, err)
	require.NotEmpty(t, sums)
}

func TestRestartChargesOpenIntentsAtMaximum(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir(), Incarnation: 3}
	l := open(t, cfg)
	settle(t, l, 1)
	_, err := l.Begin(sampleIntent(2)) // never settled
	require.NoError(t, err)
	ref, err := l.Begin(sampleIntent(3))
	require.NoError(t, err)
	require.NoError(t, l.Abort(ref))

	cfg.Incarnation = 4
	l = reopen(t, l, cfg)
	left := l.Interrupted()
	require.Len(t, left, 1)
	require.Equal(t, callID(2), left[0].CallID)
	require.Equal(t, store.Interrupted, left[0].Status)
	require.Equal(t, unit.Dollar/4, left[0].Cost.Total)
	require.Equal(t, uint64(3), left[0].Charged())

	want := []store.SettledSum{
		{Scope: model.Scope{Dim: model.DimKey, ID: keyHash}, Window: 1_773_446_400, Sum: unit.Dollar/4 + 750_000},
		{Scope: model.Scope{Dim: model.DimTeam, ID: "t-1"}, Sum: unit.Dollar/4 + 750_000},
	}
	got, err := l.Settled(3)
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)
	now, err := l.Settled(4)
	require.NoError(t, err)
	require.Empty(t, now)

	cfg.Incarnation = 5
	l = reopen(t, l, cfg)
	require.Empty(t, l.Interrupted(), "charged once, not at every start")
}

func TestAmendedIntentIsChargedAsAmended(t *testing.T) {
	long := store.Charge{Scope: model.Scope{Dim: model.DimTag, ID: strings.Repeat("x", 600)}}
	for name, charges := range map[string][2][]store.Charge{"in a slot": {}, "under a key": {{long}, {long}}, "outgrown": {nil, {long}}} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{Dir: t.TempDir()}
			l := open(t, cfg)
			in := sampleIntent(1)
			in.Charges = append(in.Charges, charges[0]...)
			ref, err := l.Begin(in)
			require.NoError(t, err)
			more := *sampleIntent(1)
			more.Max, more.Charges = 3*unit.Dollar, append(more.Charges, charges[1]...)
			ref, err = l.Amend(ref, &more)
			require.NoError(t, err)
			_, err = l.Amend(ref, sampleIntent(2))
			require.ErrorIs(t, err, store.ErrWrongRef)

			l = reopen(t, l, cfg)
			left := l.Interrupted()
			require.Len(t, left, 1)
			require.Equal(t, 3*unit.Dollar, left[0].Cost.Total)
			require.Equal(t, more.Charges, left[0].Charges)
		})
	}
}

func TestCallThatDiedWhileBeingAmendedIsChargedOnce(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	for _, m := range []unit.Money{unit.Dollar, 2 * unit.Dollar} { // the state between an Amend's two steps
		in := sampleIntent(1)
		in.Max = m
		_, err := l.Begin(in)
		require.NoError(t, err)
	}
	l = reopen(t, l, cfg)
	require.Len(t, l.Interrupted(), 1)
	require.Equal(t, l.Interrupted()[0].Cost.Total, l.SpendOf(model.Scope{Dim: model.DimKey, ID: keyHash}))
	require.Zero(t, l.Stats().Open)
}

func TestSettledCallLeavesNoAmendedIntent(t *testing.T) {
	l := open(t, store.Config{})
	ref, err := l.Begin(sampleIntent(1))
	require.NoError(t, err)
	ref, err = l.Amend(ref, sampleIntent(1))
	require.NoError(t, err)
	_, err = l.Settle(ref, sampleEntry(1))
	require.NoError(t, err)
	require.Zero(t, l.Stats().Open)
}

func TestIntentThatDoesNotFitASlotIsKeptWhole(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	long := sampleIntent(1)
	for i := range 12 {
		long.Charges = append(long.Charges, store.Charge{Scope: model.Scope{Dim: model.DimTag, ID: string(make([]byte, 60)) + itoa(i)}})
	}
	ref, err := l.Begin(long)
	require.NoError(t, err)
	other := *long
	other.CallID = callID(2)
	_, err = l.Begin(&other)
	require.NoError(t, err)
	_, err = l.Settle(ref, sampleEntry(1))
	require.NoError(t, err)

	l = reopen(t, l, cfg)
	require.Len(t, l.Interrupted(), 1)
	require.Equal(t, callID(2), l.Interrupted()[0].CallID)
	require.Equal(t, long.Charges, l.Interrupted()[0].Charges)
	l = reopen(t, l, cfg)
	require.Empty(t, l.Interrupted())
}

func TestMoreCallsInFlightThanOneFileHolds(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	const calls = 5000
	for i := range uint64(calls) {
		_, err := l.Begin(sampleIntent(i + 1))
		require.NoError(t, err)
	}
	require.FileExists(t, filepath.Join(cfg.Dir, "intents-0001"))
	l = reopen(t, l, cfg)
	require.Len(t, l.Interrupted(), calls)
	require.Equal(t, calls*unit.Dollar/4, l.SpendOf(model.Scope{Dim: model.DimKey, ID: keyHash}))
	require.Zero(t, l.Stats().Open)
}

func TestTotalsOutliveARestart(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	for i := range uint64(10) {
		settle(t, l, i+1)
	}
	check := func() {
		t.Helper()
		for _, s := range []model.Scope{
			{Dim: model.DimKey, ID: keyHash}, {Dim: model.DimUser, ID: "u-1"}, {Dim: model.DimTeam, ID: "t-1"},
			{Dim: model.DimMember, ID: "t-1\x1fu-1"}, {Dim: model.DimEndUser, ID: "customer-7"}, {Dim: model.DimTag, ID: "b"},
			{Dim: model.DimModelPerKey, ID: keyHash + "\x1fgpt-4o"}, {Dim: model.DimProvider, ID: "openai"}, model.ProxyScope(),
		} {
			require.Equal(t, unit.Money(7_500_000), l.SpendOf(s), s)
		}
	}
	check()
	l = reopen(t, l, cfg)
	check()
	l = reopen(t, l, cfg)
	check()
	require.Equal(t, map[string]unit.Money{"t-1": 7_500_000}, l.Spends(model.DimTeam))
}

func TestMachineRestartIsNoticed(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir(), BootID: "a"}
	l := open(t, cfg)
	require.False(t, l.MachineRestarted(), "a new ledger has no past")
	l = reopen(t, l, cfg)
	require.False(t, l.MachineRestarted())
	cfg.BootID = "b"
	l = reopen(t, l, cfg)
	require.True(t, l.MachineRestarted())
}

func TestCursorMovesForwardAndSurvives(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	settle(t, l, 1)
	seq := settle(t, l, 2)
	c, err := l.Cursor("postgres")
	require.NoError(t, err)
	require.Zero(t, c.Seq())
	require.NoError(t, c.Advance(seq))
	require.NoError(t, c.Advance(seq-1))
	l = reopen(t, l, cfg)
	c, err = l.Cursor("postgres")
	require.NoError(t, err)
	require.Equal(t, seq, c.Seq())
	for range l.Entries(c.Seq()) {
		t.Fatal("nothing is after the cursor")
	}
}

func TestWaitReturnsWithTheNextEntry(t *testing.T) {
	l := open(t, store.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	last := l.LastSeq()
	go func() { done <- l.Wait(ctx, last) }()
	settle(t, l, 1)
	require.NoError(t, <-done)
	gone, stop := context.WithCancel(context.Background())
	stop()
	require.ErrorIs(t, l.Wait(gone, l.LastSeq()), context.Canceled)
}

func TestRetentionKeepsWhatACursorHasNotPassed(t *testing.T) {
	l := open(t, store.Config{KeepFor: time.Hour})
	var seqs []uint64
	for i := range uint64(10) {
		e := sampleEntry(i + 1)
		e.Start = t0.Add(time.Duration(i) * time.Minute)
		e.End = e.Start.Add(time.Second)
		seq, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
		seqs = append(seqs, seq)
	}
	c, err := l.Cursor("reader")
	require.NoError(t, err)
	left := func() (n int) {
		for _, err := range l.Entries(0) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	require.NoError(t, l.Retain(t0.Add(24*time.Hour)))
	require.Equal(t, 10, left(), "the reader has seen nothing")
	require.NoError(t, c.Advance(seqs[3]))
	require.NoError(t, l.Retain(t0.Add(24*time.Hour)))
	require.Equal(t, 6, left())
	e, err := l.ByCall(callID(1))
	require.NoError(t, err)
	require.Nil(t, e)
	require.NoError(t, l.DropCursor("reader"))
	require.NoError(t, l.Retain(t0.Add(time.Hour+7*time.Minute)))
	require.Equal(t, 3, left(), "entries of the last hour stay")
	seq := settle(t, l, 11)
	require.NoError(t, l.CatchUp())
	e, err = l.ByCall(callID(11))
	require.NoError(t, err)
	require.Equal(t, seq, e.Seq)
	require.Equal(t, unit.Money(11*750_000), l.SpendOf(model.ProxyScope()), "totals are for ever")
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	settle(t, l, 1)
	_, err := store.Open(cfg)
	require.Error(t, err)
	settle(t, l, 2)
}

func TestSlotFileOfWrongSizeIsRefused(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, "intents-0000"), []byte("short"), 0o600))
	_, err := store.Open(cfg)
	require.ErrorContains(t, err, "instead of")
}

func TestClosedLedgerRefusesInsteadOfCrashing(t *testing.T) {
	l := open(t, store.Config{})
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Healthy(), store.ErrUnavailable)
	_, err := l.Begin(sampleIntent(1))
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = l.Settle(store.Ref{}, sampleEntry(1))
	require.ErrorIs(t, err, store.ErrUnavailable)
}
