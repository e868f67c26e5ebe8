package raftlog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestStoreBehavesAsRaftsOwnInMemoryStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		s, err := Open(Config{Dir: "raft", FS: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		twin := raft.NewInmemStore()
		name := rapid.SampledFrom([]string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"})
		bounds := func() (uint64, uint64) {
			first, _ := twin.FirstIndex()
			last, _ := twin.LastIndex()
			return first, last
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				_, last := bounds()
				if last == 0 { // after a snapshot the log starts anywhere
					last = rapid.Uint64Range(0, 1000).Draw(t, "start")
				}
				var logs []*raft.Log
				for range rapid.IntRange(0, 5).Draw(t, "n") {
					last++
					l := &raft.Log{Index: last, Term: rapid.Uint64().Draw(t, "term"), Type: raft.LogType(rapid.IntRange(0, 5).Draw(t, "type")),
						Data: drawBytes(t, "data"), Extensions: drawBytes(t, "ext")}
					if rapid.Bool().Draw(t, "timed") {
						l.AppendedAt = time.Unix(0, rapid.Int64().Draw(t, "at"))
					}
					logs = append(logs, l)
				}
				require.NoError(t, s.StoreLogs(logs))
				require.NoError(t, twin.StoreLogs(logs))
			},
			"drop prefix": func(t *rapid.T) {
				first, last := bounds()
				if last == 0 {
					return
				}
				to := rapid.Uint64Range(first, last).Draw(t, "to")
				require.NoError(t, s.DeleteRange(first, to))
				require.NoError(t, twin.DeleteRange(first, to))
			},
			"drop suffix": func(t *rapid.T) {
				first, last := bounds()
				if last == 0 {
					return
				}
				from := rapid.Uint64Range(first, last).Draw(t, "from")
				require.NoError(t, s.DeleteRange(from, last))
				require.NoError(t, twin.DeleteRange(from, last))
			},
			"set": func(t *rapid.T) {
				k, v := []byte(name.Draw(t, "name")), rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "value")
				require.NoError(t, s.Set(k, v))
				require.NoError(t, twin.Set(k, v))
			},
			"set number": func(t *rapid.T) {
				k, v := []byte("n"+name.Draw(t, "name")), rapid.Uint64().Draw(t, "value")
				require.NoError(t, s.SetUint64(k, v))
				require.NoError(t, twin.SetUint64(k, v))
			},
			"reopen": func(t *rapid.T) {
				require.NoError(t, s.Close())
				s, err = Open(Config{Dir: "raft", FS: fs})
				require.NoError(t, err)
			},
			"": func(t *rapid.T) {
				first, last := bounds()
				gotFirst, err := s.FirstIndex()
				require.NoError(t, err)
				gotLast, err := s.LastIndex()
				require.NoError(t, err)
				require.Equal(t, [2]uint64{first, last}, [2]uint64{gotFirst, gotLast})
				for i := max(first, 1) - 1; i <= last+1; i++ {
					var want, got raft.Log
					wantErr, gotErr := twin.GetLog(i, &want), s.GetLog(i, &got)
					require.Equal(t, wantErr, gotErr)
					require.True(t, want.AppendedAt.Equal(got.AppendedAt))
					got.AppendedAt = want.AppendedAt
					require.Equal(t, want, got)
				}
				for _, n := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
					want, wantErr := twin.Get([]byte(n))
					got, gotErr := s.Get([]byte(n))
					require.Equal(t, want, got)
					require.Equal(t, wantErr == nil, gotErr == nil)
					if wantErr != nil {
						require.Equal(t, wantErr.Error(), gotErr.Error())
					}
					wantN, _ := twin.GetUint64([]byte("n" + n))
					gotN, err := s.GetUint64([]byte("n" + n))
					require.NoError(t, err)
					require.Equal(t, wantN, gotN)
				}
			},
		})
	})
}

// drawBytes gives nil or bytes, never an empty slice: the two are one on disk.
func drawBytes(t *rapid.T, label string) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label)
	if len(b) == 0 {
		return nil
	}
	return b
}
