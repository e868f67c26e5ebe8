package state_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/state"
)

func providers() map[string]state.ProviderDefaults {
	return map[string]state.ProviderDefaults{
		"openai":      {Base: "https://api.openai.com/v1", KeyEnv: []string{"OPENAI_API_KEY"}, BaseEnv: []string{"OPENAI_BASE_URL"}},
		"anthropic":   {Base: "https://api.anthropic.com", KeyEnv: []string{"ANTHROPIC_API_KEY"}},
		"groq":        {Base: "https://api.groq.com/openai/v1", KeyEnv: []string{"GROQ_API_KEY"}},
		"hosted_vllm": {BaseEnv: []string{"HOSTED_VLLM_API_BASE"}, KeyOptional: true},
	}
}

func keys(names ...string) func(string) (string, bool) {
	return func(n string) (string, bool) {
		for _, k := range names {
			if k == n {
				return "sk-" + n, true
			}
		}
		return "", false
	}
}

func raw(t testing.TB, text string) model.Params {
	t.Helper()
	p := model.Params{}
	require.NoError(t, json.Unmarshal([]byte(text), &p))
	return p
}

func entry(t testing.TB, id, group, params string) model.Deployment {
	return model.Deployment{ID: id, Group: group, Params: raw(t, params)}
}

func deps(env func(string) (string, bool)) state.CompileDeps {
	return state.CompileDeps{Book: price.Default(), Providers: providers(), Env: env}
}

func all() func(string) (string, bool) {
	return keys("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY")
}

func compile(t testing.TB, cfg *model.Config, env func(string) (string, bool)) *state.Routing {
	t.Helper()
	r, _ := state.Compile(cfg, nil, deps(env))
	return r
}

// found is "id=model" of every choice.
func found(r *state.Routing, name string) []string {
	t, ok := r.Resolve(name)
	if !ok {
		return nil
	}
	var out []string
	for _, c := range t.Deployments() {
		out = append(out, c.Deployment.ID+"="+c.Deployment.Provider+"/"+c.Model)
	}
	return out
}

func TestNamesResolveInOrder(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{
		entry(t, "a", "gpt-4o", `{"model":"openai/gpt-4o"}`),
		entry(t, "b", "gpt-4o", `{"model":"groq/llama"}`),
		entry(t, "c", "sonnet", `{"model":"claude-3-5-sonnet-20241022"}`),
		entry(t, "w", "openai/*", `{"model":"openai/*"}`),
		entry(t, "m", "my/*/x", `{"model":"groq/*"}`),
		entry(t, "f", "fixed-*", `{"model":"anthropic/claude-3-5-haiku"}`),
		entry(t, "s", "*", `{"model":"*"}`),
	}}
	cfg.Router.Aliases = map[string]model.AliasTarget{
		"smart": {Groups: []string{"gpt-4o", "sonnet"}},
		"quiet": {Groups: []string{"sonnet"}, Hidden: true},
		"lost":  {Groups: []string{"nowhere*"}},
	}
	r := compile(t, cfg, all())
	for name, want := range map[string][]string{
		"gpt-4o":             {"a=openai/gpt-4o", "b=groq/llama"},
		"a":                  {"a=openai/gpt-4o"},
		"smart":              {"a=openai/gpt-4o", "b=groq/llama", "c=anthropic/claude-3-5-sonnet-20241022"},
		"quiet":              {"c=anthropic/claude-3-5-sonnet-20241022"},
		"openai/o3-mini":     {"w=openai/o3-mini"},
		"gpt-4.1":            {"w=openai/gpt-4.1"},
		"my/deep/name/x":     {"m=groq/deep/name"},
		"fixed-anything":     {"f=anthropic/claude-3-5-haiku"},
		"groq/mixtral":       {"s=groq/mixtral"},
		"claude-3-7-sonnet":  {"s=anthropic/claude-3-7-sonnet"},
		"openai/*":           nil,
		"lost":               nil,
		"":                   nil,
		"anthropic/claude-x": {"s=anthropic/claude-x"},
	} {
		require.Equal(t, want, found(r, name), name)
	}
	require.Equal(t, []string{"gpt-4o", "sonnet", "openai/*", "my/*/x", "fixed-*", "*", "smart"}, r.VisibleModels())
	require.Contains(t, strings.Join(r.Warnings, "\n"), `model lost: the alias names "nowhere*"`)
}

func TestAliasListGivesEachNameTheSameShare(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{
		entry(t, "a", "one", `{"model":"openai/gpt-4o"}`),
		entry(t, "b", "one", `{"model":"openai/gpt-4o","api_base":"https://eu.example/v1"}`),
		entry(t, "c", "two", `{"model":"anthropic/claude-3-5-sonnet"}`),
	}}
	cfg.Router.Aliases = map[string]model.AliasTarget{"both": {Groups: []string{"one", "two"}}}
	target, ok := compile(t, cfg, all()).Resolve("both")
	require.True(t, ok)
	require.True(t, target.Alias)
	var shares []float64
	for _, c := range target.Deployments() {
		shares = append(shares, c.Share)
	}
	require.Equal(t, []float64{0.25, 0.25, 0.5}, shares)
}

func TestMissingKeyIsAProblemOfTheDeploymentOnly(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{
		entry(t, "a", "gpt-4o", `{"model":"openai/gpt-4o"}`),
		entry(t, "b", "gpt-4o", `{"model":"groq/llama"}`),
		entry(t, "c", "local", `{"model":"hosted_vllm/qwen","api_base":"http://10.0.0.5:8000/v1"}`),
		entry(t, "d", "self", `{"model":"openai/qwen","api_base":"http://127.0.0.1:8000/v1"}`),
	}}
	r := compile(t, cfg, keys("GROQ_API_KEY"))
	require.Equal(t, "no API key: set OPENAI_API_KEY or litellm_params.api_key", r.ByID["a"].Problem)
	require.Equal(t, []string{"b=groq/llama"}, found(r, "gpt-4o"), "one without a problem goes first")
	require.Equal(t, []string{"a=openai/gpt-4o"}, found(r, "a"), "by its id it answers with its problem")
	require.Empty(t, r.ByID["c"].Problem)
	require.Empty(t, r.ByID["d"].Problem, "a server of one's own may need no key")
	require.Contains(t, strings.Join(r.Warnings, "\n"), "model gpt-4o: no API key: set OPENAI_API_KEY")
}

func TestMockAnswersOnlyWithoutKeyWhenTheSettingSaysSo(t *testing.T) {
	for _, c := range []struct {
		name      string
		withSw    bool
		env       func(string) (string, bool)
		wantMock  bool
		wantNoKey bool
	}{
		{"LiteLLM's way: always", false, all(), true, false},
		{"LiteLLM's way: also without key", false, keys(), true, false},
		{"switch, key there: the provider", true, all(), false, false},
		{"switch, no key: the fixed answer", true, keys(), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o","mock_response":"hello"}`)}}
			cfg.Tollgate.MockWithoutKey = c.withSw
			d := compile(t, cfg, c.env).ByID["a"]
			require.Equal(t, c.wantMock, d.MockResponse != nil)
			require.Empty(t, d.Problem)
		})
	}
}

func TestParamsAreSplitBetweenGatewayAndProvider(t *testing.T) {
	d := entry(t, "a", "g", `{"model":"openai/gpt-4o","api_key":"k","max_tokens":4096,"temperature":0.5,"zeta":{"a":1},
		"rpm":"600","tpm":1000,"weight":2,"order":1,"timeout":"30","stream_timeout":1.5,"cooldown_time":0,"num_retries":1,
		"extra_headers":{"X-A":"1","X-N":5},"headers":{"X-A":"0","X-B":"2"},"extra_body":{"k":true},"drop_params":true,
		"additional_drop_params":["seed"],"tags":["eu"],"region_name":"eu-west-1","organization":"org","input_cost_per_token":"3e-7","nothing":null}`)
	d.Info = raw(t, `{"access_groups":["beta"],"max_output_tokens":777,"mode":"chat"}`)
	cfg := &model.Config{Deployments: []model.Deployment{d}}
	cfg.Router.DefaultParams = raw(t, `{"temperature":1,"top_p":0.9}`)
	r := compile(t, cfg, keys())
	got := r.ByID["a"]
	var names []string
	for _, p := range got.Defaults {
		names = append(names, p.Name+"="+string(p.Value))
	}
	require.Equal(t, []string{"max_tokens=4096", "temperature=0.5", "top_p=0.9", `zeta={"a":1}`}, names)
	require.Equal(t, map[string]string{"X-A": "1", "X-B": "2", "X-N": "5"}, got.ExtraHeaders)
	require.Equal(t, []state.Param{{Name: "k", Value: []byte("true")}}, got.ExtraBody)
	require.Equal(t, int64(600), *got.RPM)
	require.Equal(t, int64(1000), *got.TPM)
	require.Equal(t, 2.0, *got.Weight)
	require.Equal(t, 1, *got.Order)
	require.Equal(t, 30*time.Second, got.Timeout)
	require.Equal(t, 1500*time.Millisecond, got.StreamTimeout)
	require.Equal(t, time.Duration(0), *got.Cooldown)
	require.True(t, got.DropParams)
	require.Equal(t, []string{"seed"}, got.DropAlso)
	require.Equal(t, "eu-west-1", got.Region)
	require.Equal(t, "org", got.Organization)
	require.Equal(t, int64(777), got.MaxOutput)
	require.Equal(t, []string{"beta"}, r.Groups["g"].AccessNames)
	p, ok := got.Price.Price(price.Input)
	require.True(t, ok)
	require.EqualValues(t, 300_000, p)
	_, ok = got.Price.Price(price.Output)
	require.True(t, ok, "what is not stated comes from the book")
}

func TestWildcardsArePricedByTheNameAsked(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "w", "openai/*", `{"model":"openai/*","max_tokens":5}`)}}
	r := compile(t, cfg, all())
	big, _ := r.Resolve("openai/gpt-4o")
	small, _ := r.Resolve("openai/gpt-4o-mini")
	a, b := big.Deployments()[0].Deployment, small.Deployments()[0].Deployment
	require.NotNil(t, a.Price)
	pa, _ := a.Price.Price(price.Input)
	pb, _ := b.Price.Price(price.Input)
	require.Greater(t, pa, pb)
	require.Equal(t, "w", a.ID)
	require.Equal(t, "openai/gpt-4o", a.FullModel)
	require.True(t, a.Wildcard)
	require.Len(t, a.Defaults, 1)
}

func TestUnknownProviderIsLeftOutAndNamed(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{
		entry(t, "a", "x", `{"model":"bedrock/anthropic.claude"}`),
		entry(t, "b", "y", `{"model":"meta-llama/Llama-3","custom_llm_provider":"groq"}`),
		entry(t, "c", "z", `{"model":"llama-3","api_base":"https://api.groq.com/openai/v1"}`),
		entry(t, "d", "v", `{"model":"openai/*"}`),
		entry(t, "a2", "own", `{"model":"mine/m1"}`),
	}}
	cfg.Tollgate.Providers = []model.OpenAIRow{{Name: "mine", BaseURL: "https://llm.example/v1"}}
	r := compile(t, cfg, all())
	require.Nil(t, r.ByID["a"])
	require.Nil(t, r.ByID["d"])
	require.Contains(t, strings.Join(r.Warnings, "\n"), `model x: no provider for "bedrock/anthropic.claude"`)
	require.Equal(t, []string{"b=groq/meta-llama/Llama-3"}, found(r, "y"))
	require.Equal(t, []string{"c=groq/llama-3"}, found(r, "z"))
	require.Equal(t, "https://llm.example/v1", r.ByID["a2"].APIBase)
	require.Empty(t, r.ByID["a2"].Problem)
	require.Equal(t, []string{"b=groq/meta-llama/Llama-3"}, found(r, "meta-llama/Llama-3"), "a deployment's own model string is a name too")
}

func TestModelsOfTheAPIWinOverTheFile(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o"}`)}}
	db := &model.DBModel{Deployment: entry(t, "a", "g", `{"model":"openai/gpt-4o-mini"}`)}
	off := &model.DBModel{Deployment: entry(t, "b", "g", `{"model":"openai/gpt-4o-mini"}`)}
	off.Info = raw(t, `{"blocked":true}`)
	r, _ := state.Compile(cfg, []*model.DBModel{db, off}, deps(all()))
	require.Equal(t, []string{"a=openai/gpt-4o-mini"}, found(r, "g"))
	require.True(t, r.ByID["a"].DBModel)
}

func TestCredentialsFillWhatTheEntryLeavesOut(t *testing.T) {
	cfg := &model.Config{
		Deployments: []model.Deployment{
			entry(t, "a", "g", `{"model":"openai/gpt-4o","litellm_credential_name":"c","api_version":"own"}`),
			entry(t, "b", "h", `{"model":"openai/gpt-4o","litellm_credential_name":"none"}`),
		},
		Credentials: map[string]model.Params{"c": raw(t, `{"api_key":"from-list","api_version":"v1","api_base":"https://x.example"}`)},
	}
	r := compile(t, cfg, keys())
	d := r.ByID["a"]
	require.Equal(t, []string{"from-list", "own", "https://x.example"}, []string{d.APIKey, d.APIVersion, d.APIBase})
	require.Contains(t, strings.Join(r.Warnings, "\n"), `credential "none" is not in credential_list`)
}

func TestMetadataAddressesNeedAWord(t *testing.T) {
	for base, ok := range map[string]bool{
		"http://127.0.0.1:11434": true, "http://10.1.2.3": true, "https://vllm.internal": true, "http://[::1]:8000": true,
		"http://169.254.169.254/latest": false, "http://[fe80::1]": false, "http://metadata.google.internal.": false,
		"http://[::ffff:169.254.169.254]": false, "http://100.100.100.200": false, "ftp://x": false, "nonsense": false,
	} {
		require.Equal(t, ok, state.CheckBase(base, false) == nil, base)
	}
	require.NoError(t, state.CheckBase("http://169.254.169.254", true))
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/m","api_base":"http://169.254.169.254/v1"}`)}}
	require.Contains(t, compile(t, cfg, all()).ByID["a"].Problem, "allow_private")
}

func TestBadOwnPricesAreSaidAndNotUsed(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o","input_cost_per_token":-1}`)}}
	r := compile(t, cfg, all())
	require.Contains(t, strings.Join(r.Warnings, "\n"), "its own prices are not used")
	require.NotNil(t, r.ByID["a"].Price)
}

func TestKeysOfTheEnvironmentTravelWithTheConfig(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o"}`)}}
	state.CarryEnvironment(cfg, providers(), all())
	require.Equal(t, map[string]string{"OPENAI_API_KEY": "sk-OPENAI_API_KEY"}, cfg.Environment)
	require.Equal(t, "sk-OPENAI_API_KEY", compile(t, cfg, keys()).ByID["a"].APIKey)
}

func TestEmptyStateCompilesToRoutingThatKnowsNothing(t *testing.T) {
	r := state.Compiler(deps(all()))(&state.Snapshot{})
	require.NotNil(t, r.Config)
	require.Empty(t, r.VisibleModels())
	require.Nil(t, found(r, "gpt-4o"))
	require.Equal(t, time.UTC, r.Location)
}

func TestSealedValuesAreOpenedForCallsAndStaySealedInParams(t *testing.T) {
	sealed := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o","api_key":"sealed:x"}`)}}
	opened := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/gpt-4o","api_key":"sk-plain"}`)}}
	d := deps(keys())
	d.OpenConfig = func(*model.Config) (*model.Config, []error) { return opened, []error{errors.New("one did not open")} }
	d.OpenDeployment = func(in *model.Deployment) (*model.Deployment, error) {
		out := *in
		out.Params = raw(t, `{"model":"openai/gpt-4o","api_key":"sk-db"}`)
		return &out, nil
	}
	db := &model.DBModel{Deployment: entry(t, "b", "g", `{"model":"openai/gpt-4o","api_key":"sealed:y"}`)}
	r, warnings := state.Compile(sealed, []*model.DBModel{db}, d)
	require.Equal(t, "sk-plain", r.ByID["a"].APIKey)
	require.Equal(t, "sk-db", r.ByID["b"].APIKey)
	require.Equal(t, `"sealed:x"`, string(r.ByID["a"].Params["api_key"]))
	require.Same(t, sealed, r.Config)
	require.Contains(t, warnings[0].String(), "one did not open")
}

func TestPriceOverlayOfTheConfigPricesModels(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{entry(t, "a", "g", `{"model":"openai/of-our-own","api_key":"k"}`)}}
	require.Contains(t, strings.Join(compile(t, cfg, keys()).Warnings, "\n"), "no price is known for openai/of-our-own")
	cfg.Tollgate.PriceOverlay = raw(t, `{"openai/of-our-own":{"input_cost_per_token":1e-6,"output_cost_per_token":2e-6,"litellm_provider":"openai","max_output_tokens":99}}`)
	r := compile(t, cfg, keys())
	require.Empty(t, r.Warnings)
	require.NotNil(t, r.ByID["a"].Price)
	require.EqualValues(t, 99, r.ByID["a"].MaxOutput)
}

func TestUnreadableOverlayAndZoneAreSaid(t *testing.T) {
	cfg := &model.Config{}
	cfg.Tollgate.PriceFile = "prices.json"
	cfg.Tollgate.PriceOverlay = raw(t, `{"x":{"input_cost_per_token":"dear"}}`)
	cfg.LiteLLM.Timezone = "Mars/Olympus"
	r := compile(t, cfg, keys())
	require.Contains(t, strings.Join(r.Warnings, "\n"), "Mars/Olympus")
	require.NotNil(t, r.Prices)
}

func TestAnAliasOfAWildcardsIdNamesNoModel(t *testing.T) {
	cfg := &model.Config{Deployments: []model.Deployment{{ID: "w", Group: "a/*", Params: model.Params{"model": []byte(`"*"`)}}}}
	cfg.Router.Aliases = map[string]model.AliasTarget{"al": {Groups: []string{"w"}}}
	r, warnings := state.Compile(cfg, nil, state.CompileDeps{Providers: providers(), Env: keys("OPENAI_API_KEY")})
	if _, ok := r.Resolve("al"); ok || len(warnings) == 0 {
		t.Errorf("resolved: %v, warnings: %v", ok, warnings)
	}
}
