package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

// answered books a call whose answer is kept.
func answered(t *testing.T, l *store.Ledger, n byte, answer []byte) uint64 {
	t.Helper()
	call := store.CallID{n}
	ref, err := l.Begin(&store.Intent{CallID: call, At: time.Now(), Key: "k"})
	require.NoError(t, err)
	seq, err := l.Settle(ref, &store.Entry{CallID: call, Status: store.Success, Start: time.Now(), End: time.Now(), Answer: answer})
	require.NoError(t, err)
	return seq
}

func TestAKeptAnswerIsGivenWholeAndIsNoBody(t *testing.T) {
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1, BodyLimit: 16})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	want := bytes.Repeat([]byte("data: {}\n\n"), 300)
	seq := answered(t, l, 1, want)
	plain := answered(t, l, 2, nil)

	got, err := l.LoadAnswer(seq)
	require.NoError(t, err)
	require.Equal(t, want, got)
	none, err := l.LoadAnswer(plain)
	require.NoError(t, err)
	require.Nil(t, none)
	e, err := l.Get(seq)
	require.NoError(t, err)
	require.NoError(t, l.LoadCallbackBodies(e))
	require.Empty(t, e.Answer)
	require.Empty(t, e.Response)
	first, err := l.FirstAnswer()
	require.NoError(t, err)
	require.Equal(t, seq, first)
}

func TestAnswersGoAfterADayAndEntriesStay(t *testing.T) {
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	seq := answered(t, l, 1, []byte("kept"))
	require.NoError(t, l.Retain(time.Now().Add(store.KeepAnswers-time.Minute)))
	got, err := l.LoadAnswer(seq)
	require.NoError(t, err)
	require.Equal(t, []byte("kept"), got)
	require.NoError(t, l.Retain(time.Now().Add(store.KeepAnswers+time.Minute)))
	got, err = l.LoadAnswer(seq)
	require.NoError(t, err)
	require.Nil(t, got)
	first, err := l.FirstAnswer()
	require.NoError(t, err)
	require.Zero(t, first)
	e, err := l.Get(seq)
	require.NoError(t, err)
	require.NotNil(t, e)
}

func TestACopyHasTheAnswersThatMayLeave(t *testing.T) {
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	kept, bare := answered(t, l, 1, []byte("kept")), answered(t, l, 2, []byte("stays"))
	c, err := store.OpenCopy(store.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	b := store.CopyBatch{Holder: "a", UpTo: l.LastSeq()}
	for r, err := range l.Records(0, l.LastSeq()) {
		require.NoError(t, err)
		if r.Seq == bare {
			e, err := r.Decode()
			require.NoError(t, err)
			r = r.Bare(e)
		}
		b.Entries = append(b.Entries, r)
	}
	require.NoError(t, c.Put(&b))
	got, err := c.Ledger().LoadAnswer(kept)
	require.NoError(t, err)
	require.Equal(t, []byte("kept"), got)
	got, err = c.Ledger().LoadAnswer(bare)
	require.NoError(t, err)
	require.Nil(t, got)
	require.NoError(t, c.Upkeep(time.Now().Add(store.KeepAnswers+time.Minute)))
	got, err = c.Ledger().LoadAnswer(kept)
	require.NoError(t, err)
	require.Nil(t, got)
}
