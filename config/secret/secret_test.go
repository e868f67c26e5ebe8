package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/secret"
)

func newBox(t testing.TB) *secret.Box {
	kek, err := secret.KEKFromText("operator's salt")
	require.NoError(t, err)
	b := secret.NewBox(kek)
	wrapped, err := b.NewDataKey("cluster")
	require.NoError(t, err)
	_, err = b.Install("cluster", wrapped)
	require.NoError(t, err)
	return b
}

func TestSealedValueOpensOnlyInItsPlace(t *testing.T) {
	b := newBox(t)
	sealed, err := b.Seal("deployment/a", "api_key", "sk-12345")
	require.NoError(t, err)
	require.True(t, secret.IsSealed(sealed))
	require.NotContains(t, sealed, "12345")
	plain, err := b.Open("deployment/a", "api_key", sealed)
	require.NoError(t, err)
	require.Equal(t, "sk-12345", plain)
	for _, place := range [][2]string{{"deployment/b", "api_key"}, {"deployment/a", "api_base"}, {"deployment/", "aapi_key"}, {"deployment/aa", "pi_key"}} {
		_, err = b.Open(place[0], place[1], sealed)
		require.ErrorIs(t, err, secret.ErrSealed)
	}
}

func TestAnyDamageIsNoticed(t *testing.T) {
	b := newBox(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.String().Draw(t, "plain")
		sealed, err := b.Seal("e", "f", plain)
		require.NoError(t, err)
		back, err := b.Open("e", "f", sealed)
		require.NoError(t, err)
		require.Equal(t, plain, back)
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(sealed, "sealed:v1:"))
		require.NoError(t, err)
		raw[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		_, err = b.Open("e", "f", "sealed:v1:"+base64.RawURLEncoding.EncodeToString(raw))
		require.Error(t, err)
	})
}

func TestPlaintextPassesAndNothingOpensWithoutADataKey(t *testing.T) {
	kek, err := secret.KEKFromText("x")
	require.NoError(t, err)
	empty := secret.NewBox(kek)
	require.False(t, empty.Ready())
	plain, err := empty.Open("e", "f", "not sealed")
	require.NoError(t, err)
	require.Equal(t, "not sealed", plain)
	_, err = empty.Seal("e", "f", "x")
	require.ErrorIs(t, err, secret.ErrNoKey)
	sealed, err := newBox(t).Seal("e", "f", "x")
	require.NoError(t, err)
	_, err = empty.Open("e", "f", sealed)
	require.ErrorIs(t, err, secret.ErrNoKey)
	_, err = newBox(t).Open("e", "f", sealed)
	require.ErrorIs(t, err, secret.ErrNoKey, "another cluster's key")
}

func TestDataKeyOpensOnlyUnderItsKEKAndForItsCluster(t *testing.T) {
	right, err := secret.KEKFromText("right")
	require.NoError(t, err)
	wrong, err := secret.KEKFromText("wrong")
	require.NoError(t, err)
	wrapped, err := secret.NewBox(right).NewDataKey("one")
	require.NoError(t, err)
	_, err = secret.NewBox(wrong).Install("one", wrapped)
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	_, err = secret.NewBox(right).Install("two", wrapped)
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	_, err = secret.NewBox(right).Install("one", wrapped[:9])
	require.Error(t, err)
	_, err = secret.NewBox(right).Install("one", nil)
	require.Error(t, err)
}

func TestRotatedDataKeyStillOpensOldValues(t *testing.T) {
	b := newBox(t)
	old, err := b.Seal("e", "f", "old")
	require.NoError(t, err)
	wrapped, err := b.NewDataKey("cluster")
	require.NoError(t, err)
	_, err = b.Install("cluster", wrapped)
	require.NoError(t, err)
	plain, err := b.Open("e", "f", old)
	require.NoError(t, err)
	require.Equal(t, "old", plain)
}

func TestDerivedKeysAreTheClustersOwn(t *testing.T) {
	kek, err := secret.KEKFromText("x")
	require.NoError(t, err)
	a, b := secret.NewBox(kek), secret.NewBox(kek)
	_, err = a.Derive("names")
	require.ErrorIs(t, err, secret.ErrNoKey)
	wrapped, err := a.NewDataKey("c")
	require.NoError(t, err)
	for _, box := range []*secret.Box{a, b} {
		_, err = box.Install("c", wrapped)
		require.NoError(t, err)
	}
	one, err := a.Derive("names")
	require.NoError(t, err)
	two, err := b.Derive("names")
	require.NoError(t, err)
	require.Equal(t, one, two)
	other, err := a.Derive("something else")
	require.NoError(t, err)
	require.NotEqual(t, one, other)
}

func TestResealedValuesNeedOnlyTheNewestKey(t *testing.T) {
	b := newBox(t)
	old, err := b.Seal("e", "f", "plain")
	require.NoError(t, err)
	require.True(t, b.Newest(old))
	again, err := b.NewDataKeyUnder("cluster", b.KEK().Fingerprint(), b.KEK().Fingerprint())
	require.NoError(t, err)
	_, err = b.NewDataKeyUnder("cluster", "nobody's")
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	_, err = b.Install("cluster", again[0])
	require.NoError(t, err)
	require.False(t, b.Newest(old))
	require.False(t, b.NewestIn([]byte(`{"a":"x","b":["`+old+`"]}`)))
	require.True(t, b.NewestIn([]byte(`{"a":"x"}`)))
	next, err := b.Reseal("e", "f", old)
	require.NoError(t, err)
	require.True(t, b.Newest(next))
	_, err = b.Reseal("e", "g", old)
	require.ErrorIs(t, err, secret.ErrSealed)

	kek, err := secret.KEKFromText("operator's salt")
	require.NoError(t, err)
	only := secret.NewBox(kek)
	_, err = only.Install("cluster", again[1])
	require.NoError(t, err)
	plain, err := only.Open("e", "f", next)
	require.NoError(t, err)
	require.Equal(t, "plain", plain)
	_, err = only.Open("e", "f", old)
	require.ErrorIs(t, err, secret.ErrNoKey)
}

func TestNodeMakesItsOwnKEKAndKeepsIt(t *testing.T) {
	dir := t.TempDir()
	first, err := secret.LoadKEK("", dir)
	require.NoError(t, err)
	wrapped, err := secret.NewBox(first).NewDataKey("c")
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, secret.KEKFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	again, err := secret.LoadKEK("", dir)
	require.NoError(t, err)
	with, err := secret.NewBox(again).Install("c", wrapped)
	require.NoError(t, err)
	require.Equal(t, again.Fingerprint(), with)

	// The operator gives a key later: the old data key opens, and can be wrapped
	// with the new one.
	given, err := secret.LoadKEK("salt", dir)
	require.NoError(t, err)
	box := secret.NewBox(given)
	with, err = box.Install("c", wrapped)
	require.NoError(t, err)
	require.NotEqual(t, given.Fingerprint(), with)
	rewrapped, err := box.Rewrap("c", wrapped, given.Fingerprint())
	require.NoError(t, err)
	alone, err := secret.KEKFromText("salt")
	require.NoError(t, err)
	_, err = secret.NewBox(alone).Install("c", rewrapped)
	require.NoError(t, err)
}

func TestKeyFileTakesFurtherKeysAndLetsThemGo(t *testing.T) {
	dir := t.TempDir()
	own, err := secret.LoadKEK("", dir)
	require.NoError(t, err)
	fresh, err := secret.KEKFromText("fresh")
	require.NoError(t, err)
	exported := fresh.Export(fresh.Fingerprint())
	require.Empty(t, own.Export(fresh.Fingerprint()), "a key that is not held")

	wrapped, err := secret.NewBox(own).NewDataKey("c")
	require.NoError(t, err)
	box := secret.NewBox(own)
	_, err = box.Rewrap("c", wrapped, fresh.Fingerprint())
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	learned, err := box.Learn(exported)
	require.NoError(t, err)
	require.Equal(t, fresh.Fingerprint(), learned)
	again, err := box.Rewrap("c", wrapped, learned)
	require.NoError(t, err)

	require.NoError(t, secret.StoreKEK(dir, exported))
	both, err := secret.LoadKEK("", dir)
	require.NoError(t, err)
	require.Equal(t, fresh.Fingerprint(), both.Fingerprint(), "the newest wraps")
	for _, w := range [][]byte{wrapped, again} {
		_, err = secret.NewBox(both).Install("c", w)
		require.NoError(t, err)
	}
	require.NoError(t, secret.ForgetKEKs(dir, []string{own.Fingerprint()}))
	one, err := secret.LoadKEK("", dir)
	require.NoError(t, err)
	_, err = secret.NewBox(one).Install("c", wrapped)
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	require.NoError(t, secret.ForgetKEKs(dir, []string{fresh.Fingerprint()}))
	_, err = secret.LoadKEK("", dir)
	require.NoError(t, err, "the last key stays")
	_, err = box.Learn("short")
	require.Error(t, err)
}

func TestKEKFileMustBePrivateAndWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secret.KEKFile)
	require.NoError(t, os.WriteFile(path, []byte("short\n"), 0o600))
	_, err := secret.LoadKEK("", dir)
	require.ErrorContains(t, err, "32 bytes")
	_, err = secret.LoadKEK("", t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = secret.LoadKEK("", dir)
	require.ErrorContains(t, err, "chmod 600")
}

func isSecret(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "key") || strings.Contains(name, "secret") || name == "authorization" || name == "vertex_credentials"
}

func TestSealConfigLeavesNoSecretAndOpensAgain(t *testing.T) {
	const canary = "CANARY"
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	cfg := func() *model.Config {
		return &model.Config{
			Deployments: []model.Deployment{{ID: "d1", Group: "g", Params: model.Params{
				"model":              raw(`"openai/gpt-4o"`),
				"api_key":            raw(`"CANARY-1"`),
				"use_key":            raw(`true`),
				"vertex_credentials": raw(`{"private_key": "CANARY-2", "n": 1.50}`),
				"extra_headers":      raw(`{"X-B": "1", "Authorization": "CANARY-3", "X-A": 1.0}`),
				"extra_body":         raw(`{"z": 1.00, "a": [ {"b":2} ] }`),
				"list":               raw(`[{"secret": ["CANARY-4"]}, 7]`),
			}, Info: model.Params{"id": raw(`"d1"`), "my_secret": raw(`"CANARY-5"`)}}},
			Environment: map[string]string{"OPENAI_API_KEY": "CANARY-6", "EMPTY": ""},
			Credentials: map[string]model.Params{"c": {"anything": raw(`"CANARY-7"`)}},
			General:     model.GeneralSettings{DatabaseURL: "postgres://u:CANARY-8@h/db", Raw: model.Params{"webhook_key": raw(`"CANARY-9"`)}},
			LiteLLM:     model.LiteLLMSettings{Raw: model.Params{"cache_params": raw(`{"redis_secret":"CANARY-10"}`)}},
			Router:      model.RouterSettings{Raw: model.Params{"key": raw(`"CANARY-11"`)}, DefaultParams: model.Params{"api_key": raw(`"CANARY-12"`)}},
			Tollgate: model.TollgateSettings{Raw: model.Params{"s_secret": raw(`123456`)},
				Providers: []model.OpenAIRow{{Name: "p", Headers: map[string]string{"Authorization": "CANARY-13", "X": "y"}}}},
			Other: map[string]json.RawMessage{"guardrails": raw(`[{"api_key":"CANARY-14","mode":"pre"}]`)},
		}
	}
	b := newBox(t)
	sealed := cfg()
	require.NoError(t, b.SealConfig(sealed, isSecret))
	text, err := json.Marshal(sealed)
	require.NoError(t, err)
	require.NotContains(t, string(text), canary)
	require.NotContains(t, string(text), "123456")
	require.Equal(t, `{"z": 1.00, "a": [ {"b":2} ] }`, string(sealed.Deployments[0].Params["extra_body"]), "byte for byte")
	require.Equal(t, `true`, string(sealed.Deployments[0].Params["use_key"]))
	require.Regexp(t, `^\{"X-B":"1","Authorization":"sealed:v1:.*","X-A":1.0\}$`, string(sealed.Deployments[0].Params["extra_headers"]))

	require.NoError(t, b.SealConfig(sealed, isSecret), "sealing twice")
	again, err := json.Marshal(sealed)
	require.NoError(t, err)
	require.Equal(t, string(text), string(again), "changes nothing")

	open, errs := b.OpenConfig(sealed)
	require.Empty(t, errs)
	want, err := json.Marshal(cfg())
	require.NoError(t, err)
	got, err := json.Marshal(open)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
	after, err := json.Marshal(sealed)
	require.NoError(t, err)
	require.Equal(t, string(again), string(after), "opening works on a copy")
}

func TestOneUnreadableSecretDoesNotTakeTheOthersDown(t *testing.T) {
	b, stranger := newBox(t), newBox(t)
	foreign, err := stranger.Seal(secret.DeploymentEntity("d"), "api_key", `"x"`)
	require.NoError(t, err)
	cfg := &model.Config{Deployments: []model.Deployment{
		{ID: "d", Params: model.Params{"api_key": json.RawMessage(`"` + foreign + `"`), "model": json.RawMessage(`"m"`)}},
		{ID: "e", Params: model.Params{"api_key": json.RawMessage(`"plain"`)}},
	}}
	open, errs := b.OpenConfig(cfg)
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "api_key of deployment/d")
	require.NotContains(t, open.Deployments[0].Params, "api_key")
	require.Contains(t, open.Deployments[0].Params, "model")
	require.Equal(t, `"plain"`, string(open.Deployments[1].Params["api_key"]))
}

func TestValuesNestedTooDeepAreRefusedNotSkipped(t *testing.T) {
	b := newBox(t)
	deep := strings.Repeat(`{"a":`, 100) + `{"api_key":"x"}` + strings.Repeat("}", 100)
	err := b.SealConfig(&model.Config{Other: map[string]json.RawMessage{"o": json.RawMessage(deep)}}, isSecret)
	require.ErrorContains(t, err, "deep")
}

func TestRedactedNeverShows(t *testing.T) {
	r := secret.Redacted("sk-canary-value")
	js, err := json.Marshal(map[string]any{"k": r})
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "k", r, "group", slog.GroupValue(slog.Any("k", r)))
	for _, shown := range []string{fmt.Sprint(r), fmt.Sprintf("%v %+v %#v %s %q", r, r, r, r, r), string(js), log.String()} {
		require.NotContains(t, shown, "canary")
	}
	require.Equal(t, "sk-canary-value", r.Reveal())
}

func TestLogsHoldNoKeys(t *testing.T) {
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{ReplaceAttr: secret.ReplaceAttr}))
	key := "sk-abcdefghijklmnop1234"
	l.Info("message", "Authorization", "Bearer whatever", "x-api-key", "v1", "API_KEY", "v2",
		"err", errors.New("401: incorrect key "+key+" given"), "body", []byte(`{"key":"`+key+`"}`),
		"url", "postgres://user:pa55word@db:5432/x", "text", "Bearer abcdefghijklmnop", "line", "join 10.0.0.1:7946 --token tg1.abcdefghijklmnop", "model", "sk-learn", "task", "risk-free",
		"sealed", "sealed:v1:AAAAAAAAAAAAAAAA")
	for _, leak := range []string{"abcdefgh", "whatever", `"v1"`, `"v2"`, "pa55word", "AAAA"} {
		require.NotContains(t, log.String(), leak)
	}
	for _, kept := range []string{"sk-learn", "risk-free", "incorrect key", "user:", "@db:5432/x"} {
		require.Contains(t, log.String(), kept)
	}
}

func FuzzOpen(f *testing.F) {
	b := newBox(f)
	good, err := b.Seal("e", "f", "secret")
	require.NoError(f, err)
	f.Add(good)
	f.Add("sealed:v1:")
	f.Add("sealed:v1:AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := b.Open("e", "f", s)
		if err == nil && secret.IsSealed(s) && (s != good || plain != "secret") {
			t.Fatalf("%q opened as %q", s, plain)
		}
		secret.Mask(s)
	})
}
