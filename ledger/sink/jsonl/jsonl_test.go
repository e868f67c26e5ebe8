package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/ledger/store"
)

func batch(from, n int) (out []*store.Entry) {
	for i := range n {
		e := &store.Entry{Seq: uint64(from + i), Status: store.Success, Model: "openai/gpt-4o"}
		e.CallID[14], e.CallID[15] = byte((from+i)>>8), byte(from+i)
		out = append(out, e)
	}
	return out
}

func newSink(t require.TestingT, cfg Config) *Sink {
	s, err := New(cfg)
	require.NoError(t, err)
	return s
}

// calls are the last parts of the call ids in all files, oldest file first.
func calls(t require.TestingT, path string) (out []int) {
	old, err := filepath.Glob(path + ".*-*")
	require.NoError(t, err)
	for _, name := range append(old, path) {
		text, err := os.ReadFile(name)
		if !errors.Is(err, os.ErrNotExist) { // just put away
			require.NoError(t, err)
		}
		require.True(t, len(text) == 0 || bytes.HasSuffix(text, []byte("\n")))
		for line := range strings.Lines(string(text)) {
			var r struct {
				ID string `json:"litellm_call_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &r))
			var id [2]byte
			for i := range id {
				s := r.ID[len(r.ID)-4+2*i:][:2]
				id[i] = byte(strings.IndexByte(hex, s[0])<<4 | strings.IndexByte(hex, s[1]))
			}
			out = append(out, int(id[0])<<8|int(id[1]))
		}
	}
	return out
}

const hex = "0123456789abcdef"

func upTo(n int) (out []int) {
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

func TestWhatIsBehindThePositionIsCutAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "calls.jsonl")
	s := newSink(t, Config{Path: path})
	pos, err := s.Position(t.Context())
	require.NoError(t, err)
	require.Zero(t, pos)
	require.NoError(t, s.Deliver(t.Context(), batch(1, 3)))
	require.NoError(t, s.Close())
	// A kill after the lines and before the position: a whole line and a torn one.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("{\"litellm_call_id\":\"0004\"}\n{\"litellm_ca")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s = newSink(t, Config{Path: path})
	pos, err = s.Position(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), pos)
	require.NoError(t, s.Deliver(t.Context(), batch(4, 2)))
	require.NoError(t, s.Close())
	require.Equal(t, upTo(5), calls(t, path))
}

func TestFileOfSomebodyElseKeepsItsWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("{\"litellm_call_id\":\"0001\"}\n{\"torn"), 0o600))
	s := newSink(t, Config{Path: path})
	require.NoError(t, s.Deliver(t.Context(), batch(2, 1)))
	require.NoError(t, s.Close())
	require.Equal(t, upTo(2), calls(t, path))
}

func TestFilesArePutAwayAndTheOldestGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	s := newSink(t, Config{Path: path, RotateBytes: 5000, Keep: 3})
	for i := range 30 {
		require.NoError(t, s.Deliver(t.Context(), batch(i+1, 1)))
	}
	require.NoError(t, s.Close())
	old, err := filepath.Glob(path + ".*-*")
	require.NoError(t, err)
	require.Len(t, old, 3)
	got := calls(t, path)
	require.Equal(t, upTo(30)[30-len(got):], got, "without a gap up to the newest")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(5000))
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestTwoWritersOfOneFileAreKeptApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	s := newSink(t, Config{Path: path})
	require.NoError(t, s.Deliver(t.Context(), batch(1, 1)))
	require.ErrorContains(t, newSink(t, Config{Path: path}).Deliver(t.Context(), batch(1, 1)), "another process")
	require.NoError(t, s.Close())
}

func TestDirectoryThatCannotBeMadeIsAPassingFault(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	s := newSink(t, Config{Path: filepath.Join(dir, "x", "calls.jsonl")})
	_, err := s.Position(t.Context())
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "x")))
	require.NoError(t, s.Deliver(t.Context(), batch(1, 1)))
	require.NoError(t, s.Close())
}

// At every moment at which the process may die, each call stands in the files
// once after the reader has gone on from the position.
func TestEachCallStandsOnceWhereverTheProcessDies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "jsonl")
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "calls.jsonl")
		const all = 20
		done := 0
		for done < all {
			s := newSink(rt, Config{Path: path, RotateBytes: 12000, Keep: -1})
			pos, err := s.Position(t.Context())
			require.NoError(rt, err)
			done = int(pos)
			for range rapid.IntRange(0, 4).Draw(rt, "batches") {
				n := min(rapid.IntRange(1, 5).Draw(rt, "size"), all-done)
				if n == 0 {
					break
				}
				require.NoError(rt, s.Deliver(t.Context(), batch(done+1, n)))
				done += n
			}
			before, err := os.ReadFile(path + ".position")
			require.NoError(rt, err)
			file, err := os.ReadFile(path)
			require.NoError(rt, err)
			switch n := min(2, all-done); rapid.IntRange(0, 3).Draw(rt, "death") {
			case 1: // lines written, wholly or in part, position not
				old, err := filepath.Glob(path + ".*-*")
				require.NoError(rt, err)
				if n > 0 {
					require.NoError(rt, s.Deliver(t.Context(), batch(done+1, n)))
				}
				require.NoError(rt, s.Close())
				text, err := os.ReadFile(path)
				require.NoError(rt, err)
				now, err := filepath.Glob(path + ".*-*")
				require.NoError(rt, err)
				if len(now) == len(old) { // not put away meanwhile
					cut := rapid.IntRange(len(file), len(text)).Draw(rt, "cut")
					require.NoError(rt, os.Truncate(path, int64(cut)))
					require.NoError(rt, os.WriteFile(path+".position", before, 0o600))
				}
			case 2: // put away, position not yet of the new file
				require.NoError(rt, s.Close())
				if len(file) > 0 {
					require.NoError(rt, os.Rename(path, fmt.Sprintf("%s.%016x-%03d", path, done, 9)))
				}
			}
			require.NoError(rt, s.Close())
		}
		require.Equal(rt, upTo(all), calls(rt, path))
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"size":12,"seq":3}`))
	f.Add([]byte(`{"size":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, err := decodePosition(b)
		if err == nil {
			require.GreaterOrEqual(t, at.Size, int64(0))
		}
	})
}
