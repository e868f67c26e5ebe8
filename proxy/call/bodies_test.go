package call_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
)

func TestBodiesForACallbackAloneStandInNoRow(t *testing.T) {
	for _, c := range []struct {
		name, key, fields string
		told              bool
	}{
		{name: "told", told: true}, {name: "not of who opts out", key: `{"store_prompts_in_spend_logs":false}`},
		{name: "nor of a request that opts out", fields: `"no-log":true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, withConfig(func(cfg *model.Config) { cfg.Callbacks = []model.Callback{{Name: "hook", Content: true}} }),
				withKey(func(k *model.Key) { k.Metadata = json.RawMessage(c.key) }))
			w.serve(answers)
			require.Equal(t, 200, w.post(body("m", c.fields)).status)
			e := w.only()
			require.Equal(t, c.fields != "", e.NoLog)
			require.NoError(t, w.ledger.LoadBodies(e))
			require.Empty(t, e.Messages, "rows show nothing")
			require.NoError(t, w.ledger.LoadCallbackBodies(e))
			require.Equal(t, c.told, len(e.Messages) > 0 && len(e.Response) > 0)
		})
	}
}

func TestBodiesAreKeptAsTheNearestSettingSays(t *testing.T) {
	const on, off = `{"store_prompts_in_spend_logs":true,"cost_center":"a"}`, `{"store_prompts_in_spend_logs":false}`
	for _, c := range []struct {
		name              string
		global, turnedOff bool
		key, team, fields string
		keeps             bool
	}{
		{name: "not unless asked for"},
		{name: "all tenants", global: true, keeps: true},
		{name: "a team that opts out", global: true, team: off},
		{name: "a team that opts in", team: on, keeps: true},
		{name: "a key against its team", team: on, key: off},
		{name: "a request that opts out", global: true, key: on, fields: `"no-log":true`},
		{name: "message logging is turned off for all", global: true, turnedOff: true, key: on},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, withConfig(func(cfg *model.Config) {
				cfg.General.StorePrompts, cfg.LiteLLM.TurnOffMessageLogging = c.global, c.turnedOff
			}), func(b *state.Builder, _ *model.Config) {
				b.Put(&model.Team{ID: "t", Metadata: json.RawMessage(c.team)})
			}, withKey(func(k *model.Key) { k.TeamID, k.Metadata = "t", json.RawMessage(c.key) }))
			w.serve(answers)
			require.Equal(t, 200, w.post(body("m", c.fields)).status)
			e := w.only()
			require.NoError(t, w.ledger.LoadBodies(e))
			require.Equal(t, c.keeps, len(e.Messages) > 0)
			require.Equal(t, c.keeps, len(e.Response) > 0)
		})
	}
}
