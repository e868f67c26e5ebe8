package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/store"
)

func TestAuditRecordsStayInOrderThroughRepetitionAndRestart(t *testing.T) {
	cfg := store.Config{Dir: t.TempDir()}
	l := open(t, cfg)
	_, known, err := l.AuditsFrom()
	require.NoError(t, err)
	require.False(t, known)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	records := []store.Audit{
		{Index: 300, At: at, By: "ada", ByKey: "hash", Table: "key", ID: "k", After: json.RawMessage(`{"a":1}`)},
		{Index: 7, At: at, Table: "team", ID: "t", Before: json.RawMessage(`{}`)},
		{Index: 300, Part: 1, At: at, Table: "user", ID: "u"},
	}
	require.NoError(t, l.PutAudits(records))
	require.NoError(t, l.PutAudits(records[:2]))
	require.NoError(t, l.SetAuditsFrom(3))
	l = reopen(t, l, cfg)
	from, known, err := l.AuditsFrom()
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, uint64(3), from)

	walk := func(seq func(func(store.Audit, error) bool)) (out []store.Audit) {
		for r, err := range seq {
			require.NoError(t, err)
			out = append(out, r)
		}
		return out
	}
	require.Equal(t, []store.Audit{records[1], records[0], records[2]}, walk(l.Audits(0)))
	require.Equal(t, []store.Audit{records[0], records[2]}, walk(l.Audits(7)))
	require.Equal(t, []store.Audit{records[2], records[0], records[1]}, walk(l.LatestAudits()))
	require.NoError(t, l.DropAudits(7))
	require.Equal(t, []store.Audit{records[0], records[2]}, walk(l.Audits(0)))
}
