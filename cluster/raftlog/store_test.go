package raftlog

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, fs vfs.FS) *Store {
	s, err := Open(Config{Dir: "raft", FS: fs})
	require.NoError(t, err)
	return s
}

func TestEveryFieldOfAnEntrySurvivesAReopening(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	logs := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("conf")},
		{Index: 2, Term: 7, Type: raft.LogCommand, Data: []byte("cmd"), Extensions: []byte("ext"), AppendedAt: time.Unix(12, 34)},
		{Index: 3, Term: 1 << 60, Type: raft.LogNoop},
	}
	require.NoError(t, s.StoreLogs(logs))
	require.NoError(t, s.SetUint64([]byte("CurrentTerm"), 9))
	require.NoError(t, s.Set([]byte("LastVoteCand"), []byte("me")))
	require.NoError(t, s.Close())

	s = open(t, fs)
	defer s.Close()
	for _, want := range logs {
		var got raft.Log
		require.NoError(t, s.GetLog(want.Index, &got))
		require.True(t, want.AppendedAt.Equal(got.AppendedAt))
		got.AppendedAt = want.AppendedAt
		require.Equal(t, *want, got)
	}
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	require.Equal(t, [2]uint64{1, 3}, [2]uint64{first, last})
	term, err := s.GetUint64([]byte("CurrentTerm"))
	require.NoError(t, err)
	require.Equal(t, uint64(9), term)
	vote, err := s.Get([]byte("LastVoteCand"))
	require.NoError(t, err)
	require.Equal(t, "me", string(vote))
}

func TestFreshStoreLooksFreshToRaft(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	has, err := raft.HasExistingState(s, s, raft.NewInmemSnapshotStore())
	require.NoError(t, err)
	require.False(t, has)
	_, err = s.Get([]byte("missing"))
	require.EqualError(t, err, "not found")
	require.ErrorIs(t, s.GetLog(1, &raft.Log{}), raft.ErrLogNotFound)
}

// A power cut at any moment: everything that was acknowledged is there, and
// nothing that was never written.
func TestAcknowledgedEntriesSurviveAPowerCut(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewCrashableMem()
			s := open(t, fs)
			term, acked := uint64(0), []string{}
			cut := rng.IntN(40)
			for range cut {
				if rng.IntN(8) == 0 && len(acked) > 0 {
					from := rng.IntN(len(acked)) // a conflicting suffix
					require.NoError(t, s.DeleteRange(uint64(from+1), uint64(len(acked))))
					acked = acked[:from]
				}
				var logs []*raft.Log
				for range 1 + rng.IntN(5) {
					data := strings.Repeat(fmt.Sprint(rng.Uint64()), 1+rng.IntN(200))
					acked = append(acked, data)
					logs = append(logs, &raft.Log{Index: uint64(len(acked)), Data: []byte(data)})
				}
				require.NoError(t, s.StoreLogs(logs))
				term++
				require.NoError(t, s.SetUint64([]byte("CurrentTerm"), term))
			}
			after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			require.NoError(t, s.Close())

			s = open(t, after)
			defer s.Close()
			last, err := s.LastIndex()
			require.NoError(t, err)
			require.Equal(t, uint64(len(acked)), last)
			for i, want := range acked {
				var l raft.Log
				require.NoError(t, s.GetLog(uint64(i+1), &l))
				require.Equal(t, want, string(l.Data))
			}
			got, err := s.GetUint64([]byte("CurrentTerm"))
			require.NoError(t, err)
			require.Equal(t, term, got)
		})
	}
}

func TestGoldenEntryIsReadable(t *testing.T) {
	l := raft.Log{Index: 5, Term: 300, Type: raft.LogCommand, Data: []byte("payload"), Extensions: []byte{1, 2}, AppendedAt: time.Unix(1_790_000_000, 5)}
	path := filepath.Join("testdata", "entry-v1.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(appendLog(nil, &l))+"\n"), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Equal(t, golden, appendLog(nil, &l))
	var got raft.Log
	require.NoError(t, decodeLog(5, golden, &got))
	require.True(t, l.AppendedAt.Equal(got.AppendedAt))
	got.AppendedAt = l.AppendedAt
	require.Equal(t, l, got)
}

func TestTwoProcessesCannotShareALog(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	require.NoError(t, err)
	_, err = Open(Config{Dir: dir})
	require.Error(t, err)
	require.NoError(t, s.Close())
}

func BenchmarkStoreLogs(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(Config{Dir: b.TempDir()})
			require.NoError(b, err)
			defer s.Close()
			index := uint64(0)
			logs := make([]*raft.Log, n)
			for b.Loop() {
				for i := range logs {
					index++
					logs[i] = &raft.Log{Index: index, Term: 1, Data: make([]byte, 512)}
				}
				if err := s.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
