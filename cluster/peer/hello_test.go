package peer

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHelloOfVersionOneStaysAsItWas(t *testing.T) {
	want, err := os.ReadFile("testdata/hello-v1.golden.hex")
	require.NoError(t, err)
	h := hello{kind: kindCall, generation: 258, cluster: "01JCLUSTER"}
	require.Equal(t, strings.TrimSpace(string(want)), hex.EncodeToString(h.append(nil)))
	b, err := hex.DecodeString(strings.TrimSpace(string(want)))
	require.NoError(t, err)
	got, err := readHello(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, h, got)
}

func TestHelloReadsNoByteTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hello{
			kind:       kind(rapid.Byte().Draw(t, "kind")),
			generation: rapid.Uint64().Draw(t, "generation"),
			cluster:    string(rapid.SliceOfN(rapid.Byte(), 0, maxID).Draw(t, "cluster")),
		}
		r := bytes.NewReader(append(h.append(nil), "raft's"...))
		got, err := readHello(r)
		require.NoError(t, err)
		require.Equal(t, h, got)
		require.Equal(t, len("raft's"), r.Len())
	})
}

func TestRefusalsCrossTheWireWhole(t *testing.T) {
	for _, reason := range statuses {
		if reason == "" {
			continue
		}
		var b bytes.Buffer
		sent := &Refused{reason, "because: " + string(reason)}
		require.NoError(t, writeStatus(&b, sent))
		var got *Refused
		require.ErrorAs(t, readStatus(&b), &got)
		require.Equal(t, sent, got)
	}
	var b bytes.Buffer
	require.NoError(t, writeStatus(&b, &Refused{ReasonNotMember, strings.Repeat("x", 2*maxReason)}))
	var got *Refused
	require.ErrorAs(t, readStatus(&b), &got)
	require.Len(t, got.Message, maxReason)
	require.Equal(t, ReasonUnknown, reasonOf(200), "a later release's reason")
}
