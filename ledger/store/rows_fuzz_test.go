package store

import (
	"testing"

	"tollgate/config/model"
)

// The rows below are read back from this node's disk, or from a copy of another's.

func FuzzReadSettled(f *testing.F) {
	k := settledKey{incarnation: 3, scope: model.Scope{Dim: model.DimKey, ID: "k\x001"}, window: 1_700_000_000}
	f.Add(settledKeyBytes(k)[len(settledPrefix(3)):], []byte{8})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s, err := readSettled(key, value)
		if err != nil {
			return
		}
		again := settledKeyBytes(settledKey{scope: s.Scope, window: s.Window})[len(settledPrefix(0)):]
		if back, err := readSettled(again, value); err != nil || back != s {
			t.Fatalf("%+v became %+v: %v", s, back, err)
		}
	})
}

func FuzzReadAudit(f *testing.F) {
	f.Add(make([]byte, 13), []byte(`{"id":"a","action":"created","table":"LiteLLM_VerificationToken"}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if r, err := readAudit(key, value); err == nil && len(key) != 13 {
			t.Fatalf("a record %+v of a key of %d bytes", r, len(key))
		}
	})
}

func FuzzReadMinute(f *testing.F) {
	f.Add(minuteKey(28_000_000), appendMinute(nil, minuteRow{first: 7, earliest: -3}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, err := readMinute(key, value)
		if err != nil {
			return
		}
		if back, err := readMinute(minuteKey(m.minute), appendMinute(nil, m)); err != nil || back != m {
			t.Fatalf("%+v became %+v: %v", m, back, err)
		}
	})
}
