package run

import (
	"encoding/json"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/store"
)

// auditWorld applies mutations onto a state whose trail is heard.
type auditWorld struct {
	t       *testing.T
	machine audited
	index   uint64
}

func newAuditWorld(t *testing.T) *auditWorld {
	w := &auditWorld{t: t, machine: audited{state.NewApplier(state.NewStore(nil)), &auditTrail{log: slog.New(slog.DiscardHandler)}}}
	w.machine.OnChange(w.machine.trail.heard)
	return w
}

func (w *auditWorld) apply(changes ...model.Change) {
	w.t.Helper()
	payload, err := json.Marshal(model.Mutation{By: "ada", ByKey: "hash", Changes: changes})
	require.NoError(w.t, err)
	w.index++
	require.Nil(w.t, w.machine.Apply(w.index, time.Unix(1_700_000_000, 0), state.MutationVersion, payload).(model.Result).Conflict)
}

func (w *auditWorld) ledger(dir string) *store.Ledger {
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, l.Close()) })
	return l
}

func kept(t *testing.T, l *store.Ledger) (out []store.Audit) {
	for r, err := range l.Audits(0) {
		require.NoError(t, err)
		out = append(out, r)
	}
	return out
}

func TestAuditTrailHoldsEachChangeWithTheObjectBeforeAndAfter(t *testing.T) {
	w := newAuditWorld(t)
	w.apply(model.Put(model.Teams, &model.Team{ID: "t", Alias: "one"}, nil)) // before the ledger is open
	w.machine.trail.begun()
	l := w.ledger(t.TempDir())
	require.NoError(t, w.machine.trail.open(l))
	w.apply(model.Put(model.Teams, &model.Team{ID: "t", Alias: "two"}, nil), model.Delete(model.Keys, "none", nil))
	w.apply(model.Put(model.Alerts, &model.Alert{}, nil))
	w.apply(model.Delete(model.Teams, "t", nil))

	got := kept(t, l)
	require.Len(t, got, 4)
	require.Nil(t, got[0].Before)
	require.Contains(t, string(got[0].After), `"one"`)
	require.Contains(t, string(got[1].Before), `"one"`)
	require.Contains(t, string(got[1].After), `"two"`)
	require.Equal(t, []any{uint64(2), uint32(1), "key", "none"}, []any{got[2].Index, got[2].Part, got[2].Table, got[2].ID})
	require.Nil(t, got[3].After)
	for _, r := range got {
		require.Equal(t, []string{"ada", "hash"}, []string{r.By, r.ByKey})
	}
	from, known, err := l.AuditsFrom()
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, uint64(1), from, "the log was applied from its beginning")
}

func TestAuditTrailIsOffWhereTheSettingsSaySo(t *testing.T) {
	w := newAuditWorld(t)
	l := w.ledger(t.TempDir())
	require.NoError(t, w.machine.trail.open(l))
	off := &model.ConfigVersion{Number: 1}
	off.Config.LiteLLM.NoAuditLogs = true
	w.apply(model.Put(model.Configs, off, nil))
	w.apply(model.Put(model.Teams, &model.Team{ID: "t"}, nil))
	require.Empty(t, kept(t, l))
}

func TestAuditTrailOfANodeWithoutALedgerHoldsNothing(t *testing.T) {
	w := newAuditWorld(t)
	w.apply(model.Put(model.Teams, &model.Team{ID: "before"}, nil))
	require.Len(t, w.machine.trail.waiting, 1)
	w.machine.trail.without()
	w.apply(model.Put(model.Teams, &model.Team{ID: "after"}, nil))
	require.Empty(t, w.machine.trail.waiting)
}

func TestAuditTrailKnowsWhatItMissesWhenTheStateIsTakenOver(t *testing.T) {
	source := newAuditWorld(t)
	source.apply(model.Put(model.Teams, &model.Team{ID: "t"}, nil))
	source.apply(model.Put(model.Teams, &model.Team{ID: "u"}, nil))
	type record struct {
		kind byte
		data []byte
	}
	var all []record
	for k, d := range source.machine.Snapshot() {
		all = append(all, record{k, append([]byte(nil), d...)})
	}
	var records iter.Seq2[byte, []byte] = func(yield func(byte, []byte) bool) {
		for _, r := range all {
			if !yield(r.kind, r.data) {
				return
			}
		}
	}
	for name, from := range map[string]uint64{"its own snapshot, known to its ledger": 1, "another's": 3} {
		t.Run(name, func(t *testing.T) {
			w, dir := newAuditWorld(t), t.TempDir()
			l := w.ledger(dir)
			require.NoError(t, l.SetAuditsFrom(1))
			if from == 3 {
				w.machine.trail.begun()
			}
			swap, err := w.machine.Restore(records)
			require.NoError(t, err)
			swap()
			w.machine.trail.begun()
			require.NoError(t, w.machine.trail.open(l))
			got, known, err := l.AuditsFrom()
			require.NoError(t, err)
			require.True(t, known)
			require.Equal(t, from, got)
		})
	}
}
