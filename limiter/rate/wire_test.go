package rate

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sampleAsk() *askMessage {
	return &askMessage{mode: standIn, digest: 0x1122334455667788, origin: "01J000000000000000000000AA", inc: 3, owner: "01J000000000000000000000BB",
		items: []askItem{
			{id: 77, kind: Requests, home: "eu", limit: 600, need: 2, want: 9, least: 1, seq: 41,
				returns: []slotUnits{{12, 4}, {13, 1}}, source: "01J000000000000000000000BB", inc: 9},
			{id: 1<<63 | 5, kind: Tokens, limit: 1 << 40, debt: 900, seq: 42},
			{id: 78, kind: Parallel, home: "eu", limit: 10, need: 1, want: 3, least: 1, hold: 4, seq: 43},
		}}
}

func sampleReply() *askReply {
	return &askReply{answers: []answer{
		{granted: 9, slot: 150, left: 412, reset: 63 * time.Second, source: "01J000000000000000000000BB", inc: 9},
		{flags: flagExhausted, retry: 1500 * time.Millisecond, reset: 20 * time.Second},
		{flags: flagNotOwner, owner: "01J000000000000000000000CC"},
	}}
}

func sampleKnown() [][]knowledge {
	return [][]knowledge{
		{{role: granting, source: "01J000000000000000000000BB", inc: 9, now: 301_500 * time.Millisecond, slots: []slotCount{{150, 40, 12}, {149, 7, 7}}},
			{role: record0, source: "01J000000000000000000000BB", inc: 9, now: 300 * time.Second, slots: []slotCount{{slot: 150, others: 5}}}},
		{},
		{{role: granting, leases: []lease{{"01J000000000000000000000CC", 2, 99, 6, 1200 * time.Millisecond}}}},
	}
}

func sampleClaims() []claim {
	return []claim{{id: 77, kind: Requests, home: "eu"}, {id: 1<<63 | 5, kind: Tokens}, {id: 78, kind: Parallel, home: "eu"}}
}

func samplePush() []byte {
	return encodePush(true, 0x1122334455667788, 3, []pushed{{sampleClaims()[0], sampleKnown()[0][0]}, {sampleClaims()[2], sampleKnown()[2][0]}})
}

func sampleCounts() []byte {
	ring, d := &ring{id: 77}, &duty{inc: 9, shift: -1500 * time.Millisecond}
	ring.advance(150)
	ring.add(40)
	d.other(150, 12)
	d.dirty = 1 << (150 % slots)
	var m countsMessage
	m.add(ring, d, "eu", "01J000000000000000000000BB")
	return m.finish(instantAt(302 * time.Second))
}

// TestWireFormsAreThoseOfEarlierReleases reads and writes what is kept of each
// form; a new version gets new files beside the old.
func TestWireFormsAreThoseOfEarlierReleases(t *testing.T) {
	forms := map[string][]byte{
		"ask": sampleAsk().encode(), "reply": sampleReply().encode(), "gather": encodeGather(sampleClaims()), "known": encodeKnown(sampleKnown()),
		"push": samplePush(), "counts": sampleCounts(), "look": encodeLook([]uint64{77, 78}),
		"looked": encodeLooked([]usage{{40, 60 * time.Second}, {-3, 0}}), "pong": pong(),
		"recall": encodeRecall([]uint64{77, 78}), "held": encodeHeld([]kept{{41, 3, 2}, {}}),
	}
	for name, raw := range forms {
		path := filepath.Join("testdata", name+"-v1.golden.hex")
		if os.Getenv("TOLLGATE_GOLDEN") != "" {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(raw)+"\n"), 0o644))
		}
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(string(kept)), hex.EncodeToString(raw), name)
	}
}

func TestWireFormsComeBackAsTheyWere(t *testing.T) {
	op, d, err := openMessage(sampleAsk().encode())
	require.NoError(t, err)
	require.Equal(t, opAsk, op)
	var m askMessage
	require.NoError(t, m.decode(d))
	require.Equal(t, *sampleAsk(), m)

	r, err := decodeReply(sampleReply().encode(), 3)
	require.NoError(t, err)
	require.Equal(t, sampleReply(), r)
	_, err = decodeReply(sampleReply().encode(), 2)
	require.Error(t, err)

	_, d, err = openMessage(encodeGather(sampleClaims()))
	require.NoError(t, err)
	claims, err := decodeGather(d)
	require.NoError(t, err)
	require.Equal(t, sampleClaims(), claims)

	known, err := decodeKnown(encodeKnown(sampleKnown()), 3)
	require.NoError(t, err)
	require.True(t, reflect.DeepEqual(sampleKnown()[0], known[0]) && reflect.DeepEqual(sampleKnown()[2], known[2]) && len(known[1]) == 0)

	clock, counts, err := decodeCounts(sampleCounts())
	require.NoError(t, err)
	require.Equal(t, 302*time.Second, clock)
	require.Equal(t, []counted{{id: 77, home: "eu", ring: heritage{"01J000000000000000000000BB", 9}, shift: -1501 * time.Millisecond,
		slots: []slotCount{{0, 40, 12}}}}, counts)

	used, err := decodeLooked(encodeLooked([]usage{{40, 60 * time.Second}, {-3, 0}}), 2)
	require.NoError(t, err)
	require.Equal(t, []usage{{40, 60 * time.Second}, {-3, 0}}, used)

	held, err := decodeHeld(encodeHeld([]kept{{41, 3, 2}, {}}), 2)
	require.NoError(t, err)
	require.Equal(t, []kept{{41, 3, 2}, {}}, held)

	moved := sampleAsk()
	moved.items[2].moves = 3
	_, d, err = openMessage(moved.encode())
	require.NoError(t, err)
	m = askMessage{}
	require.NoError(t, m.decode(d))
	require.Equal(t, *moved, m)
}

func TestAMessageOfAnotherVersionIsRefusedByName(t *testing.T) {
	raw := pong()
	raw[0] = 9
	_, _, err := openMessage(raw)
	require.ErrorContains(t, err, "version 9")
}
