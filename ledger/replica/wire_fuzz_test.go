package replica_test

import (
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

// sample is a message with everything in it, in fixed bytes.
func sample(t testing.TB) *replica.Put {
	at := time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)
	dir := t.TempDir()
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1, Sync: store.SyncNone, Incarnation: 3})
	require.NoError(t, err)
	defer l.Close()
	e, in := entry(7, 1), intent(7, 2)
	e.Start, e.End, e.Messages, in.At = at, at.Add(time.Second), nil, at
	_, err = l.Settle(store.Ref{}, e)
	require.NoError(t, err)
	_, err = l.Begin(in)
	require.NoError(t, err)
	p := &replica.Put{Book: "node-a", Anew: true, Turn: [2]uint64{3, 99}}
	p.After, p.UpTo, p.Floor, p.Reset = store.Seq(3, 0), store.Seq(3, 1), store.Seq(2, 5), true
	for r, err := range l.Records(0, l.LastSeq()) {
		require.NoError(t, err)
		r.Bodies = []byte{1, 2, 3}
		p.Entries = append(p.Entries, r)
	}
	require.NoError(t, l.OpenIntents(func(o store.OpenIntent) { p.Intents = append(p.Intents, o) }))
	p.Gone = []store.CallID{callID(7, 5), callID(7, 6)}
	return p
}

func golden(t *testing.T, name string, have []byte) []byte {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("TOLLGATE_WRITE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(have)+"\n"), 0o600))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return data
}

func TestMessagesOfTheFirstReleaseAreRead(t *testing.T) {
	want := sample(t)
	data := golden(t, "put.v1.hex", replica.AppendPut(want))
	have, err := replica.DecodePut(data)
	require.NoError(t, err)
	require.Equal(t, want, have)
	require.Equal(t, data, replica.AppendPut(want), "written as ever")

	states := []replica.State{{Book: "node-a", CopyState: store.CopyState{Holder: "node-b", Base: 1, Position: 5, Floor: 2, Taken: true}}, {Book: "node-c"}}
	data = golden(t, "states.v1.hex", replica.AppendStates(nil, states))
	all, err := replica.DecodeStates(data)
	require.NoError(t, err)
	require.Equal(t, states, all)
}

func FuzzDecodePut(f *testing.F) {
	f.Add(replica.AppendPut(sample(f)))
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := replica.DecodePut(data)
		if err != nil {
			return
		}
		again, err := replica.DecodePut(replica.AppendPut(p))
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if len(again.Entries) != len(p.Entries) || len(again.Intents) != len(p.Intents) || !reflect.DeepEqual(again.Gone, p.Gone) ||
			again.After != p.After || again.UpTo != p.UpTo || again.Floor != p.Floor || again.Turn != p.Turn || again.Book != p.Book {
			t.Fatalf("%+v became %+v", p, again)
		}
	})
}

func FuzzDecodeStates(f *testing.F) {
	f.Add(replica.AppendStates(nil, []replica.State{{Book: "a", CopyState: store.CopyState{Holder: "b", Position: 9}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := replica.DecodeStates(data)
		if err != nil {
			return
		}
		again, err := replica.DecodeStates(replica.AppendStates(nil, all))
		if err != nil || !reflect.DeepEqual(all, again) {
			t.Fatalf("%+v became %+v: %v", all, again, err)
		}
	})
}

func FuzzDecodePlace(f *testing.F) {
	f.Add([]byte{1, 1, 5, 9})
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = replica.DecodePlace(data) })
}

func FuzzDecodeFound(f *testing.F) {
	f.Add(replica.AppendFound(nil, &replica.Found{Status: "success", Answer: []byte("kept")}))
	f.Add(replica.AppendFound(nil, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := replica.DecodeFound(data)
		if err != nil {
			return
		}
		again, err := replica.DecodeFound(replica.AppendFound(nil, found))
		if err != nil || !reflect.DeepEqual(found, again) {
			t.Fatalf("%+v became %+v: %v", found, again, err)
		}
	})
}

// A keeper bears whatever another node sends.
func FuzzServe(f *testing.F) {
	f.Add(replica.AppendPut(sample(f)))
	f.Add([]byte{1, 2, 1, 'a', 5})
	f.Add([]byte{1, 3})
	f.Add([]byte{1, 4, 1, 'a', '{', '}'})
	f.Add(append([]byte{1, 5, 1, 'a'}, make([]byte, 16)...))
	dir := f.TempDir()
	k, err := replica.NewKeeper(replica.KeeperConfig{Dir: dir})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, k.Close()) })
	f.Fuzz(func(t *testing.T, data []byte) {
		// Each new name makes a folder: only one is let in here.
		if p, err := replica.DecodePut(data); err == nil && p.Book != "node-a" {
			return
		}
		_, _ = k.Serve(t.Context(), "b", data)
	})
}
