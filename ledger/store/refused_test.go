package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/ledger/store"
)

func refusedOnce() *store.Refused {
	return &store.Refused{Scope: model.Scope{Dim: model.DimTeam, ID: "t-1"}, Unit: "usd", Limit: 1_000_000_000, Used: 999_000_000,
		Reserved: 500, Needed: 2_000_000, Resets: t0.Add(time.Hour)}
}

func TestWhatRefusedACallSurvivesTheLedger(t *testing.T) {
	l := open(t, store.Config{})
	e := sampleEntry(7)
	e.Refused, e.Node = refusedOnce(), "n1"
	_, err := l.Settle(store.Ref{}, e)
	require.NoError(t, err)
	for got, err := range l.Entries(0) {
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(refusedOnce(), got.Refused))
		require.Equal(t, "n1", got.Node)
	}
}

func TestDamagedRefusalsAreRefused(t *testing.T) {
	e := sampleEntry(1)
	e.Refused = refusedOnce()
	whole := store.AppendEntry(nil, e)
	for n := len(whole) - 1; n > len(whole)-20; n-- {
		_, err := store.DecodeEntry(1, whole[:n])
		require.ErrorIs(t, err, store.ErrCorrupt, n)
	}
}
