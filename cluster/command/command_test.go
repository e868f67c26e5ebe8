package command_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/command"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The golden files are the bytes that stand in logs on disk: today's code must
// read them for as long as such a log may be met.
func TestGoldenEnvelopes(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 14, 15, 167, time.UTC)
	for name, c := range map[string]command.Command{
		"mutation-v1":     {Type: command.Mutation, Version: 1, At: at, Payload: []byte(`{"id":"m1","changes":[{"table":"key","id":"k"}]}`)},
		"budget-batch-v1": {Type: command.BudgetBatch, Version: 1, At: at, Payload: []byte{1, 2, 3, 0xff}},
		"data-key-v1":     {Type: command.DataKey, Version: 1, At: at, Payload: []byte(`{"cluster_id":"01JD","wrapped":"AQ=="}`)},
		"skippable-v7":    {Type: command.Skippable | 9, Version: 7, At: time.Unix(0, -1).UTC(), Payload: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(path, c.Encode(), 0o644))
			}
			golden, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, golden, c.Encode())
			got, err := command.Decode(golden)
			require.NoError(t, err)
			require.Equal(t, c, got)
		})
	}
}

func TestShortEnvelopesAreRefused(t *testing.T) {
	for n := range 10 {
		_, err := command.Decode(make([]byte, n))
		require.ErrorIs(t, err, command.ErrShort)
	}
}

func TestOnlyBitSevenLetsANodeSkip(t *testing.T) {
	for _, c := range []command.Type{command.Mutation, command.BudgetBatch, command.DataKey} {
		require.False(t, c.Skippable(), c)
	}
	require.True(t, (command.Skippable | command.Mutation).Skippable())
	require.Equal(t, "type_137", (command.Skippable | 9).String())
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 1, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := command.Decode(data)
		if err != nil {
			return
		}
		require.Equal(t, data, c.Encode())
	})
}
