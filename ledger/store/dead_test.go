package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

func sampleDead() *store.DeadLetter {
	return &store.DeadLetter{Seq: 42, At: t0, Reason: "answered with status 422", Entry: fullEntry()}
}

func TestDeadLetterOfTheFirstReleaseIsRead(t *testing.T) {
	d := sampleDead()
	d.Entry.Seq = 42
	data := golden(t, "dead.v1.hex", store.AppendDead(nil, d))
	got, err := store.DecodeDead(42, data)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(d, got, exported))
	require.Equal(t, data, store.AppendDead(nil, d), "written as ever")
}

func FuzzDeadLetter(f *testing.F) {
	f.Add(store.AppendDead(nil, sampleDead()))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := store.DecodeDead(1, data)
		if err != nil {
			return
		}
		again, err := store.DecodeDead(1, store.AppendDead(nil, d))
		require.NoError(t, err)
		require.Equal(t, d.Entry.CallID, again.Entry.CallID)
	})
}

func TestDeadLettersOutliveTheirEntriesAndAreBounded(t *testing.T) {
	l := open(t, store.Config{})
	last := fillLedger(t, l, 6)
	c, err := l.Cursor("r")
	require.NoError(t, err)
	other, err := l.Cursor("rr") // a name that begins alike
	require.NoError(t, err)
	var dead []store.DeadLetter
	for e, err := range l.Entries(0) {
		require.NoError(t, err)
		dead = append(dead, store.DeadLetter{Seq: e.Seq, At: t0.Add(time.Duration(len(dead)) * time.Hour), Reason: "no", Entry: e})
	}
	require.NoError(t, c.PutAside(last, dead))
	require.NoError(t, other.PutAside(last, dead[:1]))
	require.Equal(t, last, c.Seq())
	require.NoError(t, l.Retain(t0.Add(1000*24*time.Hour)))
	n, err := l.CountDead("r")
	require.NoError(t, err)
	require.Equal(t, 6, n)

	dropped, left, err := l.TrimDead("r", 3, t0.Add(90*time.Minute))
	require.NoError(t, err)
	require.Equal(t, []int{3, 3}, []int{dropped, left})
	dropped, left, err = l.TrimDead("r", 3, t0.Add(4*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, []int{dropped, left}, "the old ones go whatever their number")
	require.NoError(t, l.DropCursor("r"))
	n, err = l.CountDead("r")
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = l.CountDead("rr")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestBodiesForCallbacksAreNotShownInRows(t *testing.T) {
	l := open(t, store.Config{})
	e := sampleEntry(1)
	e.BodiesUnlisted, e.NoLog, e.Messages = true, true, []byte(`[{"role":"user"}]`)
	seq, err := l.Settle(store.Ref{}, e)
	require.NoError(t, err)
	got, err := l.Get(seq)
	require.NoError(t, err)
	require.True(t, got.NoLog)
	require.NoError(t, l.LoadBodies(got))
	require.Empty(t, got.Messages)
	require.NoError(t, l.LoadCallbackBodies(got))
	require.JSONEq(t, string(e.Messages), string(got.Messages))
}
