package replica_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

func TestACopyTellsWhatBecameOfACallOfItsNodeOnly(t *testing.T) {
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	for n, e := range []*store.Entry{{Status: store.Success, Answer: []byte("kept")}, {Status: store.Failure}} {
		e.CallID = store.CallID{byte(n + 1)}
		_, err := l.Settle(store.Ref{}, e)
		require.NoError(t, err)
	}
	k, err := replica.NewKeeper(replica.KeeperConfig{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, k.Close()) }()
	p := &replica.Put{Book: "a", Turn: [2]uint64{1, 1}}
	p.UpTo = l.LastSeq()
	for r, err := range l.Records(0, l.LastSeq()) {
		require.NoError(t, err)
		p.Entries = append(p.Entries, r)
	}
	_, err = k.Serve(t.Context(), "a", replica.AppendPut(p))
	require.NoError(t, err)

	d := replica.NewDirectory(replica.DirectoryConfig{Self: "b", Keeper: k, Others: func() []string { return nil }})
	require.Equal(t, &replica.Found{Status: store.Success, Answer: []byte("kept")}, d.FindAnswer(t.Context(), "a", store.CallID{1}))
	require.Equal(t, &replica.Found{Status: store.Failure}, d.FindAnswer(t.Context(), "a", store.CallID{2}))
	require.Nil(t, d.FindAnswer(t.Context(), "a", store.CallID{3}))
	require.Nil(t, d.FindAnswer(t.Context(), "other", store.CallID{1}))
}
