package call_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/proxy/auth"
)

// become sets what the state holds from now on.
func (w *world) become(change func(b *state.Builder)) {
	b := state.NewBuilder(w.state.State())
	change(b)
	w.state.Publish(b.Snapshot())
}

// keyed is the caller's key, changed.
func keyed(change func(k *model.Key)) func(*state.Builder) {
	return func(b *state.Builder) {
		k := &model.Key{Hash: auth.Hash([]byte(theKey)), Name: "sk-...0001"}
		k.CreatedAt = time.Now()
		change(k)
		b.Put(k)
	}
}

// asking makes the cluster answer, and counts how often it was asked.
func (w *world) asking(answer func() (bool, error)) *atomic.Int64 {
	var asked atomic.Int64
	w.mu.Lock()
	defer w.mu.Unlock()
	w.catchUp = func(hash string) (bool, error) {
		require.Equal(w.t, auth.Hash([]byte(theKey)), hash, "the key that concerns it is named by its hash")
		asked.Add(1)
		return answer()
	}
	return &asked
}

// A change made on another node a moment ago lets the caller in here.
func TestNoRefusalThatNewerStateLifts(t *testing.T) {
	plain := keyed(func(*model.Key) {})
	past, cent := time.Now().Add(-time.Hour), unit.Dollar/1_000_000_000
	for name, tc := range map[string]struct {
		before, after func(b *state.Builder)
		call          string
		status        int // without newer state
	}{
		"unknown key":       {func(b *state.Builder) { require.NoError(t, b.Delete(model.Keys, auth.Hash([]byte(theKey)))) }, plain, body("m", ""), 401},
		"blocked key":       {keyed(func(k *model.Key) { k.Blocked = true }), plain, body("m", ""), 401},
		"expired key":       {keyed(func(k *model.Key) { k.Expires = &past }), plain, body("m", ""), 401},
		"model not allowed": {keyed(func(k *model.Key) { k.Models = []string{"other"} }), plain, body("m", ""), 403},
		"route not allowed": {keyed(func(k *model.Key) { k.AllowedRoutes = []string{"/key/info"} }), plain, body("m", ""), 403},
		"over budget":       {keyed(func(k *model.Key) { k.MaxBudget = &cent }), plain, body("m", `"max_tokens":9`), 429},
		"unpriced, budget":  {keyed(func(k *model.Key) { k.MaxBudget = &cent }), plain, body("unpriced", ""), 400},
		"deactivated user": {func(b *state.Builder) {
			keyed(func(k *model.Key) { k.UserID = "u" })(b)
			b.Put(&model.User{ID: "u", Blocked: true})
		}, func(b *state.Builder) { b.Put(&model.User{ID: "u"}) }, body("m", ""), 401},
		"blocked team": {func(b *state.Builder) {
			keyed(func(k *model.Key) { k.TeamID = "t" })(b)
			b.Put(&model.Team{ID: "t", Blocked: true})
		}, func(b *state.Builder) { b.Put(&model.Team{ID: "t"}) }, body("m", ""), 401},
		"blocked end user": {func(b *state.Builder) { b.Put(&model.EndUser{ID: "e", Blocked: true}) },
			func(b *state.Builder) { b.Put(&model.EndUser{ID: "e"}) }, body("m", `"user":"e"`), 401},
		"unknown model": {plain, func(b *state.Builder) {
			cfg := *b.Snapshot().ActiveConfig()
			cfg.Number++
			for _, d := range cfg.Config.Deployments {
				if d.Group == "m" {
					d.ID, d.Group = "late", "late"
					cfg.Config.Deployments = append(cfg.Config.Deployments, d)
				}
			}
			b.Put(&cfg)
		}, body("late", ""), 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve(answers)
			w.become(tc.before)

			asked := w.asking(func() (bool, error) { return false, nil })
			got := w.post(tc.call)
			require.Equal(t, tc.status, got.status, got.body)
			require.EqualValues(t, 1, asked.Load())

			w.asking(func() (bool, error) { return false, errors.New("no leader") })
			got = w.post(tc.call)
			require.Equal(t, 503, got.status, "a caller is never blamed for what this node does not know")
			require.Contains(t, got.body, "state_behind")
			require.NotEmpty(t, got.header.Get("Retry-After"))
			require.Zero(t, w.asked.Load(), "nothing was sent")

			before := len(w.entries())
			asked = w.asking(func() (bool, error) { w.become(tc.after); return true, nil })
			got = w.post(tc.call)
			require.Equal(t, 200, got.status, got.body)
			require.EqualValues(t, 1, asked.Load())
			w.quiet()
			rows := w.entries()[before:]
			require.Len(t, rows, 1, "the first judgement leaves no row")
			require.Equal(t, store.Success, rows[0].Status)
			require.EqualValues(t, 1, w.asked.Load())

			got = w.post(tc.call)
			require.Equal(t, 200, got.status)
			require.EqualValues(t, 1, asked.Load(), "who gets in asks nobody")
		})
	}
}

func TestNewerStateMayRefuseForItsOwnReasonOnce(t *testing.T) {
	w := newWorld(t)
	w.become(keyed(func(k *model.Key) { k.Models = []string{"other"} }))
	asked := w.asking(func() (bool, error) {
		w.become(func(b *state.Builder) { require.NoError(t, b.Delete(model.Keys, auth.Hash([]byte(theKey)))) })
		return true, nil
	})
	got := w.post(body("m", ""))
	require.Equal(t, 401, got.status)
	require.Contains(t, got.body, "token_not_found_in_db")
	require.EqualValues(t, 1, asked.Load())

	w.become(keyed(func(k *model.Key) { k.Blocked = true }))
	asked = w.asking(func() (bool, error) {
		w.become(keyed(func(k *model.Key) { k.Models = []string{"other"} }))
		return true, nil
	})
	got = w.post(body("m", ""))
	require.Equal(t, 403, got.status, "judged by the newest state")
	require.EqualValues(t, 1, asked.Load(), "and asked once only")
}

func TestRefusalsOfTheCallersOwnMakingAskNobody(t *testing.T) {
	rpm := int64(1)
	w := newWorld(t, withKey(func(k *model.Key) { k.RPM = &rpm }))
	w.serve(answers)
	asked := w.asking(func() (bool, error) { return true, nil })
	require.Equal(t, 400, w.post(`{"model":`).status)
	require.Equal(t, 400, w.post(`{}`).status)
	require.Equal(t, 200, w.post(body("m", "")).status)
	require.Equal(t, 429, w.post(body("m", "")).status, "a rate limit passes by itself")
	require.Zero(t, asked.Load())
}

func TestListOfModelsIsJudgedByNewerStateToo(t *testing.T) {
	w := newWorld(t)
	w.become(func(b *state.Builder) { require.NoError(t, b.Delete(model.Keys, auth.Hash([]byte(theKey)))) })
	w.asking(func() (bool, error) { return false, errors.New("no leader") })
	for _, path := range []string{"/v1/models", "/v1/models/m", "/health"} {
		require.Equal(t, 503, w.getFrom(path).status, path)
	}
	w.asking(func() (bool, error) { w.become(keyed(func(*model.Key) {})); return true, nil })
	require.Equal(t, 200, w.getFrom("/v1/models/m").status)
}
