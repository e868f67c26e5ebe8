package sink_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/ledger/reader"
	"tollgate/ledger/sink"
	"tollgate/ledger/store"
)

func TestSettingsBecomeReaders(t *testing.T) {
	dir := t.TempDir()
	named, err := sink.Open([]model.Callback{
		{Name: "hook", Type: model.CallbackWebhook, Webhook: "https://x.example/a", Failure: true, Content: true, BatchSize: 7, FlushInterval: 2.5, Region: "us"},
		{Name: "file", Type: model.CallbackFile, Path: "calls.jsonl", Success: true, Backfill: true},
		{Name: "outside", Type: model.CallbackFile, Path: "/etc/calls.jsonl", Success: true},
		{Name: "allowed", Type: model.CallbackFile, Path: filepath.Join(dir, "in", "calls.jsonl"), Success: true},
		{Name: "root", Type: model.CallbackFile, Path: dir, Success: true},
		{Name: "bad", Type: model.CallbackWebhook, Webhook: "nowhere", Success: true},
		{Name: "odd", Type: "smoke"},
	}, sink.Deps{
		Dir: dir, FileRoots: []string{dir}, Region: "eu",
		Allow: func(e *store.Entry, region string) bool { return region == "us" || e.Team == "everywhere" },
	})
	for _, name := range []string{"outside", "root", "bad", "odd"} {
		require.ErrorContains(t, err, "callback "+name)
	}
	require.Len(t, named, 3)
	hook, file := named[0], named[1]
	require.Equal(t, "callback/hook", hook.Name)
	require.Equal(t, 7, hook.Config.MaxEntries)
	require.Equal(t, 2500*time.Millisecond, hook.Config.Linger)
	require.Equal(t, reader.CallbackBodies, hook.Config.Bodies)
	require.True(t, hook.Config.FromNow && hook.Config.Loose)
	require.False(t, file.Config.FromNow)
	require.Equal(t, reader.NoBodies, file.Config.Bodies)
	require.NotEqual(t, hook.Settings, file.Settings)
	require.NotContains(t, hook.Settings, "example")

	ok, failed := &store.Entry{Status: store.Success}, &store.Entry{Status: store.Failure}
	require.False(t, hook.Config.Want(ok))
	require.True(t, hook.Config.Want(failed))
	require.True(t, file.Config.Want(ok))
	require.True(t, file.Config.Want(&store.Entry{Status: store.ClientClosed}))
	require.False(t, file.Config.Want(&store.Entry{Status: store.Success, NoLog: true}), "the caller asked for it")
	require.True(t, hook.Config.Allow(ok))
	require.False(t, file.Config.Allow(ok), "it stands where the node does")
	require.True(t, file.Config.Allow(&store.Entry{Team: "everywhere"}))
}

func TestWhereAWebhookLeadsIsNotGuessed(t *testing.T) {
	asked := []string{}
	named, err := sink.Open([]model.Callback{
		{Name: "hook", Type: model.CallbackWebhook, Webhook: "https://x.example/a", Success: true},
		{Name: "placed", Type: model.CallbackWebhook, Webhook: "https://x.example/a", Success: true, Region: "us"},
		{Name: "file", Type: model.CallbackFile, Path: "calls.jsonl", Success: true},
	}, sink.Deps{Dir: t.TempDir(), Region: "eu", Allow: func(_ *store.Entry, region string) bool {
		asked = append(asked, region)
		return true
	}})
	require.NoError(t, err)
	for i := range named {
		named[i].Config.Allow(&store.Entry{})
	}
	require.Equal(t, []string{"", "us", "eu"}, asked)
}
