package store_test

import (
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"tollgate/config/price"
	"tollgate/ledger/store"
)

func fullEntry() *store.Entry {
	e := sampleEntry(0x0102030405060708)
	e.Incarnation, e.Organization, e.RequestUser, e.Fallbacks, e.MaxRetries = 6, "org-1", "alice", 1, 2
	e.Overhead, e.SpendLogsMetadata = 730*time.Microsecond, []byte(`{"job":1}`)
	e.ErrorClass, e.ErrorCode, e.ErrorMessage, e.Note = "RateLimitError", "429", "slow down", "unpriced"
	e.Usage = price.Usage{InUncached: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, InAudio: 5, InImage: 6, OutTotal: 70,
		OutReasoning: 8, OutAudio: 9, OutImage: 10, PredAccepted: 11, PredRejected: 12, WebSearches: 13,
		ServiceTier: "flex", Speed: "fast", Geo: "us", Known: true, Estimated: true}
	e.Cost = price.Cost{Total: 28, Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4, Reasoning: 5, Tools: 13, Priced: true,
		Version: "v", Notes: []string{"one", "two"}}
	return e
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

func TestEntryOfTheFirstReleaseIsRead(t *testing.T) {
	data := golden(t, "entry.v1.hex", store.AppendEntry(nil, fullEntry()))
	got, err := store.DecodeEntry(42, data)
	require.NoError(t, err)
	want := fullEntry()
	want.Seq = 42
	require.Empty(t, cmp.Diff(want, got, exported))
	require.Equal(t, data, store.AppendEntry(nil, fullEntry()), "written as ever")
}

func TestIntentOfTheFirstReleaseIsRead(t *testing.T) {
	in := sampleIntent(9)
	in.Incarnation = 3
	data := golden(t, "intent.v1.hex", store.AppendIntent(nil, in))
	got, err := store.DecodeIntent(data)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(in, got))
	require.Equal(t, data, store.AppendIntent(nil, in))
}

// TestEveryFieldSurvives finds the field that somebody adds to a usage, a cost
// or an entry and forgets to store.
func TestEveryFieldSurvives(t *testing.T) {
	e := &store.Entry{}
	n := int64(0)
	fillValue(t, reflect.ValueOf(e).Elem(), &n)
	e.Messages, e.Response, e.Request, e.Answer = nil, nil, nil, nil // stored apart
	got, err := store.DecodeEntry(e.Seq, store.AppendEntry(nil, e))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(e, got, exported))
	in := &store.Intent{}
	fillValue(t, reflect.ValueOf(in).Elem(), &n)
	back, err := store.DecodeIntent(store.AppendIntent(nil, in))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(in, back))
}

func fillValue(t *testing.T, v reflect.Value, n *int64) {
	t.Helper()
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(t0.Add(time.Duration(*n))))
		return
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte{byte(*n)})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillValue(t, v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillValue(t, v.Index(0), n)
		fillValue(t, v.Index(1), n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(t, v.Elem(), n)
	case reflect.Array:
		v.Index(0).SetUint(uint64(*n % 256))
	case reflect.String:
		v.SetString(strings.Repeat("x", int(*n)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n % 256))
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

// exported leaves out what another room keeps to itself: it is not stored.
var exported = cmpopts.IgnoreUnexported(price.Usage{})

func TestUsualIntentFitsASlot(t *testing.T) {
	require.Less(t, len(store.AppendIntent(nil, sampleIntent(1))), 500)
}

func TestFieldsOfALaterReleaseAreSkipped(t *testing.T) {
	data := store.AppendEntry(nil, sampleEntry(1))
	data = append(data, 0xfe, 0x07, 9)                // field 511, a number
	data = append(data, 0xff, 0x07, 3, 'x', 'y', 'z') // the same, bytes
	got, err := store.DecodeEntry(0, data)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(sampleEntry(1), got, exported))
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	whole := store.AppendEntry(nil, sampleEntry(1))
	for name, data := range map[string][]byte{
		"empty": nil, "other version": append([]byte{9}, whole[1:]...), "cut": whole[:len(whole)-3],
		"field zero": {1, 0, 0}, "endless number": {1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		_, err := store.DecodeEntry(1, data)
		require.ErrorIs(t, err, store.ErrCorrupt, name)
	}
}
