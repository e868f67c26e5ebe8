package once_test

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/once"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sampleCommand() *once.Command {
	return &once.Command{Node: "node-a", Incarnation: 7, Ops: []once.Op{
		{Kind: once.Take, ID: once.ID{1, 2}, Call: once.CallID{3}, Body: once.Sum{4}},
		{Kind: once.Take, ID: once.ID{5}, Call: once.CallID{6}, Body: once.Sum{7}, Instead: once.CallID{8}},
		{Kind: once.Release, ID: once.ID{9}, Call: once.CallID{10}},
	}}
}

func sampleAnswer() *once.Answer {
	at := time.Unix(0, 1_795_482_853_000_000_167).UTC()
	return &once.Answer{Told: []once.Told{
		{Verdict: once.Yours}, {Verdict: once.Full}, {Verdict: once.Released},
		{Verdict: once.Held, Claim: once.Claim{Node: "node-b", Incarnation: 2, Call: once.CallID{1}, At: at}},
		{Verdict: once.OtherBody, Claim: once.Claim{Node: "node-c", Incarnation: 1, Call: once.CallID{2}, At: at}},
	}}
}

// golden compares with the bytes that the first release writes, and returns them.
func golden(t *testing.T, name string, is []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(is)+"\n"), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	was, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Equal(t, was, is)
	return was
}

func TestWhatTheFirstReleaseWroteIsRead(t *testing.T) {
	cmd, err := once.DecodeCommand(golden(t, "command.v1.hex", once.AppendCommand(nil, sampleCommand())))
	require.NoError(t, err)
	require.Equal(t, sampleCommand(), cmd)
	a, err := once.DecodeAnswer(golden(t, "answer.v1.hex", once.AppendAnswer(nil, sampleAnswer())))
	require.NoError(t, err)
	require.Equal(t, sampleAnswer(), a)

	c := once.NewClaims()
	c.Apply(1, time.Unix(1_795_482_853, 167), once.Version, once.AppendCommand(nil, sampleCommand()))
	var records []byte
	for kind, data := range c.Snapshot() {
		records = append(append(records, kind, byte(len(data))), data...)
	}
	golden(t, "snapshot.v1.hex", records)
	require.Equal(t, string(flat(c.Snapshot())), string(flat(restored(t, c).Snapshot())))
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add(once.AppendCommand(nil, sampleCommand()))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := once.DecodeCommand(p)
		if err != nil {
			return
		}
		again, err := once.DecodeCommand(once.AppendCommand(nil, c))
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v became %+v: %v", c, again, err)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(once.AppendAnswer(nil, sampleAnswer()))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, err := once.DecodeAnswer(p)
		if err != nil {
			return
		}
		again, err := once.DecodeAnswer(once.AppendAnswer(nil, a))
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v: %v", a, again, err)
		}
	})
}

func FuzzQuestionsAndWhatTheyAreAnswered(f *testing.F) {
	f.Add(once.AppendQuestion(&once.Claim{Call: once.CallID{1}, Incarnation: 3, At: time.Unix(5, 6)}, true))
	f.Add(once.AppendBecame(2, []byte("kept")))
	f.Fuzz(func(t *testing.T, p []byte) {
		if c, wait, err := once.DecodeQuestion(p); err == nil {
			again, same, err := once.DecodeQuestion(once.AppendQuestion(c, wait))
			if err != nil || !reflect.DeepEqual(c, again) || wait != same {
				t.Fatalf("%+v became %+v: %v", c, again, err)
			}
		}
		if s, answer, err := once.ReadBecame(p); err == nil {
			as, aa, err := once.ReadBecame(once.AppendBecame(s, answer))
			if err != nil || as != s || string(aa) != string(answer) {
				t.Fatalf("%d %q became %d %q: %v", s, answer, as, aa, err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	c := once.NewClaims()
	c.Apply(1, time.Unix(5, 6), once.Version, once.AppendCommand(nil, sampleCommand()))
	for kind, data := range c.Snapshot() {
		f.Add(kind, data)
	}
	f.Fuzz(func(_ *testing.T, kind byte, data []byte) {
		_, _ = once.NewClaims().Restore(func(yield func(byte, []byte) bool) { yield(kind, data) })
	})
}
