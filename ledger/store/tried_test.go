package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

func triedTwice() []store.Attempt {
	return []store.Attempt{
		{Group: "gpt-4o", ModelID: "d-1", Model: "openai/gpt-4o", Provider: "openai", Class: "RateLimitError", Status: 429, After: time.Millisecond, Took: 80 * time.Millisecond},
		{Group: "claude", ModelID: "d-2", Model: "anthropic/claude", Provider: "anthropic", Region: "eu", Reason: "fallback",
			After: 600 * time.Millisecond, Wait: 500 * time.Millisecond, Took: time.Second},
	}
}

func TestAttemptsOfACallSurviveTheLedger(t *testing.T) {
	l := open(t, store.Config{})
	e := sampleEntry(7)
	e.Tried = triedTwice()
	ref, err := l.Begin(sampleIntent(7))
	require.NoError(t, err)
	_, err = l.Settle(ref, e)
	require.NoError(t, err)
	for got, err := range l.Entries(0) {
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(triedTwice(), got.Tried))
	}
}

func TestTheUsualCallsEntryPaysNothingForAttempts(t *testing.T) {
	e := sampleEntry(1)
	without := store.AppendEntry(nil, e)
	e.Tried = []store.Attempt{}
	require.Equal(t, without, store.AppendEntry(nil, e))
	require.Zero(t, testing.AllocsPerRun(100, func() { without = store.AppendEntry(without[:0], e) }))
	e.Tried = triedTwice()
	require.Zero(t, testing.AllocsPerRun(100, func() { without = store.AppendEntry(without[:0], e) }), "nor do others in memory, once there is room")
}

func TestDamagedAttemptsAreRefused(t *testing.T) {
	e := sampleEntry(1)
	e.Tried = triedTwice()[:1]
	whole := store.AppendEntry(nil, e)
	for n := len(whole) - 1; n > len(whole)-40; n-- {
		_, err := store.DecodeEntry(1, whole[:n])
		require.ErrorIs(t, err, store.ErrCorrupt, n)
	}
	whole[len(store.AppendEntry(nil, sampleEntry(1)))+2] = 1 // field nought
	_, err := store.DecodeEntry(1, whole)
	require.ErrorIs(t, err, store.ErrCorrupt)
}
