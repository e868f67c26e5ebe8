package audit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tollgate/config/model"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/store"
)

// Whatever clients put into metadata: rows are JSON, and what stands under the
// name of a secret is not in them.
func FuzzMetadataIsShownWithoutItsSecrets(f *testing.F) {
	f.Add(`{"a":[{"b":"c"}],"n":1e400}`, "api_key")
	f.Add(`["x",null,true]`, "client_secret")
	f.Add(`"\ud800"`, "password")
	w := newWorld(f, 1, nil)
	n := w.nodes[0]
	index := uint64(0)
	f.Fuzz(func(t *testing.T, other, name string) {
		const canary = "cAnArYcAnArY"
		secret, err := json.Marshal(map[string]any{"x_" + name + "_secret": canary, "deep": []any{map[string]any{"api_key": map[string]any{name: canary}}}})
		if err != nil || !json.Valid([]byte(other)) || strings.Contains(other+name, canary) {
			return
		}
		meta := json.RawMessage(`{"other":` + other + `,"mine":` + string(secret) + `}`)
		after, err := json.Marshal(&model.Team{ID: "t", Metadata: meta})
		if err != nil {
			return
		}
		index++
		if err := n.ledger.PutAudits([]store.Audit{{Index: index, At: time.Unix(int64(index), 0), Table: "team", ID: "t", After: after}}); err != nil {
			t.Fatal(err)
		}
		page, err := n.log.List(t.Context(), audit.Filter{Max: 1})
		if err != nil || len(page.Rows) != 1 {
			t.Fatal(page, err)
		}
		row := page.Rows[0]
		if !json.Valid(row.UpdatedTo) || strings.Contains(string(row.UpdatedTo), canary) {
			t.Errorf("%s", row.UpdatedTo)
		}
		if err := n.ledger.DropAudits(index); err != nil {
			t.Fatal(err)
		}
	})
}
