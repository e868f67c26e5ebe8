package secret_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/secret"
)

func TestAddressAndHeadersOfACallbackAreSealed(t *testing.T) {
	b := newBox(t)
	cfg := &model.Config{Callbacks: []model.Callback{
		{Name: "hook", Type: model.CallbackWebhook, Webhook: "https://x.example/canary", Headers: map[string]string{"X-Any": "canary"}},
	}}
	never := func(string) bool { return false }
	require.NoError(t, b.SealConfig(cfg, never))
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	require.NotContains(t, string(text), "canary")
	open, errs := b.OpenConfig(cfg)
	require.Empty(t, errs)
	require.Equal(t, "https://x.example/canary", open.Callbacks[0].Webhook)
	require.Equal(t, "canary", open.Callbacks[0].Headers["X-Any"])
	require.True(t, secret.IsSealed(cfg.Callbacks[0].Webhook), "the original stays sealed")
	cfg.Callbacks[0].Name = "other"
	open, errs = b.OpenConfig(cfg)
	require.Len(t, errs, 1, "a value opens only in its place")
	require.Empty(t, open.Callbacks)
}
