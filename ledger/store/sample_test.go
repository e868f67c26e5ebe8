package store_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

var t0 = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

const keyHash = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"

func callID(n uint64) (id store.CallID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func sampleIntent(n uint64) *store.Intent {
	return &store.Intent{
		CallID: callID(n), At: t0, Max: unit.Dollar / 4,
		Key: keyHash, User: "u-1", Team: "t-1", EndUser: "customer-7", Group: "gpt-4o", CallType: "acompletion",
		Charges: sampleCharges(),
	}
}

func sampleCharges() []store.Charge {
	return []store.Charge{
		{Scope: model.Scope{Dim: model.DimKey, ID: keyHash}, Window: 1_773_446_400},
		{Scope: model.Scope{Dim: model.DimTeam, ID: "t-1"}},
	}
}

func sampleEntry(n uint64) *store.Entry {
	return &store.Entry{
		CallID: callID(n), RequestID: "chatcmpl-9xYbR2mZk4", CallType: "acompletion", Status: store.Success,
		Start: t0, End: t0.Add(820 * time.Millisecond), FirstToken: t0.Add(210 * time.Millisecond),
		Key: keyHash, KeyAlias: "ci", User: "u-1", Team: "t-1", TeamAlias: "platform", EndUser: "customer-7",
		Group: "gpt-4o", Model: "openai/gpt-4o", ModelID: "d-1", Provider: "openai",
		APIBase: "https://api.openai.com/v1", Region: "eu", IP: "10.0.0.9", Session: "s-1", Tags: []string{"a", "b"},
		Metadata: []byte(`{"trace":"x"}`), Usage: price.Usage{InUncached: 100, CacheRead: 20, OutTotal: 50, Known: true},
		RawUsage: []byte(`{"prompt_tokens":120,"completion_tokens":50}`),
		Cost:     price.Cost{Total: 750_000, Input: 250_000, Output: 500_000, Priced: true, Version: "2026-03"},
		Charges:  sampleCharges(), Max: unit.Dollar / 4, Attempts: 1, Stream: true, CacheHit: "False",
	}
}

func open(t testing.TB, cfg store.Config) *store.Ledger {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Ballast == 0 {
		cfg.Ballast = -1
	}
	l, err := store.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}
