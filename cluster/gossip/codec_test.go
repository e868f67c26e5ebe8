package gossip

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const someNode = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

func someMeta() Meta {
	return Meta{NodeID: someNode, Incarnation: 42, Name: "frankfurt-1", Region: "eu-central", Zone: "a", Addr: "10.0.0.7:7946", API: "10.0.0.7:4000", Build: "1.2.3", FeatureMin: 1, FeatureMax: 3, Draining: true, LedgerFull: true, KeyID: "aabbccdd", KeyIDs: []string{"aabbccdd", "00112233"}}
}

func someStatus() Status {
	return Status{InFlight: 12, CPUPermille: 345, Applied: 1 << 40, LedgerBacklog: 7, DiskFree: 5 << 30, ConfigHash: "0123456789ab", LeaderAge: 1500 * time.Millisecond}
}

// golden compares with what an earlier release sent. A changed file means that
// nodes of two releases no longer understand each other.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Equal(t, want, got)
	return want
}

func TestFormsAreThoseOfTheFirstRelease(t *testing.T) {
	meta := someMeta()
	b, err := meta.encode()
	require.NoError(t, err)
	back, err := decodeMeta(golden(t, "meta-v1.golden", b))
	require.NoError(t, err)
	require.Equal(t, meta, back)

	status := someStatus()
	read, err := decodeStatus(golden(t, "status-v1.golden", status.encode()))
	require.NoError(t, err)
	require.Equal(t, status, read)

	f := frame{kind: KindCooldown, short: 0xdeadbeef, inc: 7, seq: 1 << 33, body: []byte("body")}
	got, err := decodeFrame(golden(t, "frame-v1.golden", f.encode()))
	require.NoError(t, err)
	require.Equal(t, f, got)

	known := []knownStatus{{someNode, 42, 9, 250 * time.Millisecond, status}}
	x, err := encodeExchange(someNode, []section{{KindStatus, encodeStatuses(known)}, {KindCooldown, []byte("c")}})
	require.NoError(t, err)
	from, sections, err := decodeExchange(golden(t, "exchange-v1.golden", x))
	require.NoError(t, err)
	require.Equal(t, someNode, from)
	require.Len(t, sections, 2)
	statuses, err := decodeStatuses(sections[0].body)
	require.NoError(t, err)
	require.Equal(t, known, statuses)
}

func TestLaterFormsAreReadByTheirBeginning(t *testing.T) {
	meta, status := someMeta(), someStatus()
	b, err := meta.encode()
	require.NoError(t, err)
	b[0]++
	back, err := decodeMeta(append(b, "what a later release adds"...))
	require.NoError(t, err)
	require.Equal(t, meta, back)
	read, err := decodeStatus(append(status.encode(), "more"...))
	require.NoError(t, err)
	require.Equal(t, status, read)
}

func TestLongestMetadataFits(t *testing.T) {
	m := Meta{NodeID: someNode, Incarnation: 1<<64 - 1, Name: strings.Repeat("ü", 300), Region: strings.Repeat("r", maxPlace), Zone: strings.Repeat("z", maxPlace), Addr: strings.Repeat("a", maxAddr), API: strings.Repeat("b", maxAddr), Build: strings.Repeat("v", 300), FeatureMin: 1<<32 - 1, FeatureMax: 1<<32 - 1, KeyID: "12345678"}
	for range maxKeyIDs {
		m.KeyIDs = append(m.KeyIDs, "12345678")
	}
	b, err := m.encode()
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), maxMeta)
	back, err := decodeMeta(b)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("ü", maxName/2), back.Name, "cut between characters")
	require.Equal(t, m.Region, back.Region)
}

func TestFactsThatDoNotFitAreRefusedAllAtOnce(t *testing.T) {
	m := Meta{NodeID: "no ulid", Region: strings.Repeat("r", 60), Addr: strings.Repeat("a", 100)}
	_, err := m.encode()
	require.ErrorContains(t, err, "not a ULID")
	require.ErrorContains(t, err, "region")
	require.ErrorContains(t, err, "cluster address")
}

func TestRingNamesItsFaults(t *testing.T) {
	good := Key{ID: KeyID([32]byte{1}), Secret: [32]byte{1}}
	for _, tc := range []struct {
		keys []Key
		says string
	}{
		{nil, "needs a key"},
		{[]Key{{ID: "wrong", Secret: [32]byte{1}}}, "damaged"},
		{[]Key{good, good}, "twice"},
	} {
		_, err := newRing(tc.keys)
		require.ErrorContains(t, err, tc.says)
	}
}

// memberlist's readers hold the slice of keys while one is removed.
func TestRemovingAKeyLeavesReadersTheirs(t *testing.T) {
	var keys []Key
	for i := range 5 {
		s := [32]byte{byte(i + 1)}
		keys = append(keys, Key{ID: KeyID(s), Secret: s})
	}
	for victim := 1; victim < 5; victim++ {
		r, err := newRing(keys)
		require.NoError(t, err)
		require.NoError(t, r.use(keys[2].ID))
		require.NoError(t, r.use(keys[0].ID))
		held := r.keys.GetKeys()
		before := make([]byte, 0, len(held))
		for _, k := range held {
			before = append(before, k[0])
		}
		require.NoError(t, r.remove(keys[victim].ID))
		for i, k := range held {
			require.Equal(t, before[i], k[0])
		}
		require.Len(t, r.keys.GetKeys(), 4)
		require.Equal(t, keys[0].Secret[:], r.keys.GetPrimaryKey())
		require.Error(t, r.remove(keys[0].ID))
		require.NoError(t, r.remove(keys[victim].ID), "again")
	}
}
