package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
	"tollgate/config/unit"
)

func parse(t testing.TB, text string, vars map[string]string) *file.Loaded {
	t.Helper()
	l, err := file.Parse("config.yaml", []byte(text), env(vars), read)
	require.NoError(t, err)
	return l
}

func TestShippedExampleLoadsWithoutAnyKey(t *testing.T) {
	l, err := file.Load("../config.yaml", env(nil))
	require.NoError(t, err)
	require.Empty(t, l.Skipped)
	var groups []string
	for _, d := range l.Config.Deployments {
		groups = append(groups, d.Group)
		require.Contains(t, d.Params, "mock_response")
	}
	require.Equal(t, []string{"gpt-4o", "gpt-4o-mini", "claude-3-5-sonnet", "claude-3-5-haiku", "text-embedding-3-small"}, groups)
	c := l.Config
	require.EqualValues(t, 6000, *c.LiteLLM.CallerRPM)
	require.EqualValues(t, 1_000_000, *c.LiteLLM.CallerTPM)
	require.Equal(t, 100*unit.Dollar, *c.LiteLLM.CallerBudget)
	require.Equal(t, "1mo", c.LiteLLM.CallerBudgetDuration)
	require.Nil(t, c.LiteLLM.ProxyBudget)
	require.Equal(t, []string{"claude-3-5-sonnet", "gpt-4o-mini"}, c.Router.Fallbacks["gpt-4o"])
	require.Equal(t, []string{"gpt-4o", "claude-3-5-sonnet"}, c.Router.Aliases["smart-model"].Groups)
	require.True(t, c.General.StorePrompts)
	require.True(t, c.Tollgate.MockWithoutKey)
	require.Equal(t, []string{"/v1/models"}, c.General.PublicRoutes)
	for _, w := range l.Warnings {
		require.NotContains(t, w.Problem, "unknown key")
	}
}

func TestExampleEnvironmentHasTheLoginOfTheExample(t *testing.T) {
	vars, err := file.LoadDotEnv("../../.env.example")
	require.NoError(t, err)
	require.Equal(t, "admin", vars["UI_USERNAME"])
	require.Equal(t, "admin", vars["UI_PASSWORD"])
	require.NotEmpty(t, vars["LITELLM_MASTER_KEY"])
	require.Contains(t, vars, "OPENAI_API_KEY")
	require.Contains(t, vars, "ANTHROPIC_API_KEY")
}

// The ids below were computed by Python, as LiteLLM computes them.
func TestDeploymentIDsAreLiteLLMs(t *testing.T) {
	l := parse(t, `
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: sk-openai
      max_tokens: 4096
  - model_name: forms
    litellm_params:
      model: azure/x
      api_version: 2024-02-01
      temperature: 0.7
      small: 1.0e-07
      big: 1.0e+16
      whole: 2.0
      flag: true
      off: no
      none:
      rpm: "600"
      list: [a, "it's", 'say "it''s"', 1, 2.5, true, null, {k: "v\n"}]
      dict: {"é": "ü\n\"", x: [1, 1.5e-07], y: null, z: false, "😀": 1}
`, nil)
	require.Equal(t, "2892bad075c3c97f1255f9d2eb597ced058bd698b94ebf98a331580dd8e745a1", l.Config.Deployments[0].ID)
	require.Equal(t, "fd95a3ddc56ed21fb0406f43fe6167646818b0e61e0daf36b2d48a94bffa778d", l.Config.Deployments[1].ID)
	require.Equal(t, "600", string(l.Config.Deployments[1].Params["rpm"]))
}

func TestHashFollowsMeaningAndNotForm(t *testing.T) {
	base := "model_list:\n- model_name: a\n  litellm_params: {model: openai/a, api_key: os.environ/K}\nlitellm_settings: {rpm: 5, tpm: 6}\n"
	same := "# comment\nlitellm_settings:\n  tpm: 6\n  rpm: 5\nmodel_list: [{model_name: a, litellm_params: {model: openai/a, api_key: one}}]\n"
	one := parse(t, base, map[string]string{"K": "one"})
	require.Equal(t, one.Hash, parse(t, same, nil).Hash)
	require.NotEqual(t, one.Hash, parse(t, base, map[string]string{"K": "two"}).Hash, "a changed variable is a changed configuration")
}

func TestMasterKeyStaysOutOfTheConfig(t *testing.T) {
	for name, text := range map[string]string{
		"in the file": "general_settings: {master_key: sk-very-secret}",
		"referred to": "general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}",
		"not named":   "",
	} {
		t.Run(name, func(t *testing.T) {
			l := parse(t, text, map[string]string{"LITELLM_MASTER_KEY": "sk-very-secret"})
			require.Equal(t, "sk-very-secret", l.MasterKey)
			require.Len(t, l.Config.General.MasterKeyHash, 64)
			require.NotContains(t, fmt.Sprintf("%+v", *l.Config), "sk-very-secret")
		})
	}
}

func TestMaxBudgetHasTwoMeanings(t *testing.T) {
	caller := parse(t, "litellm_settings: {max_budget: 100}", nil).Config.LiteLLM
	require.Equal(t, 100*unit.Dollar, *caller.CallerBudget)
	require.Nil(t, caller.ProxyBudget)
	proxy := parse(t, "litellm_settings: {max_budget: 100, budget_duration: 30d}", nil).Config.LiteLLM
	require.Equal(t, 100*unit.Dollar, *proxy.ProxyBudget)
	require.Equal(t, "30d", proxy.ProxyBudgetDuration)
	require.Nil(t, proxy.CallerBudget)
}

func TestEnvironmentChoosesWhatTheFileLeavesOpen(t *testing.T) {
	vars := map[string]string{"REQUEST_TIMEOUT": "30", "ROUTER_MAX_FALLBACKS": "2", "STORE_MODEL_IN_DB": "True",
		"DEFAULT_MAX_RETRIES": "1", "DEFAULT_COOLDOWN_TIME_SECONDS": "9", "DEFAULT_ALLOWED_FAILS": "7", "LITELLM_DROP_PARAMS": "true"}
	c := parse(t, "", vars).Config
	require.Equal(t, 30.0, c.LiteLLM.RequestTimeout)
	require.Equal(t, 2, *c.Router.MaxFallbacks)
	require.Equal(t, 1, *c.LiteLLM.NumRetries)
	require.Equal(t, 9.0, *c.LiteLLM.CooldownTime)
	require.Equal(t, 7, *c.LiteLLM.AllowedFails)
	require.True(t, c.General.StoreModelInDB)
	require.True(t, c.LiteLLM.DropParams)
	c = parse(t, "litellm_settings: {request_timeout: 5}\nrouter_settings: {num_retries: 4, cooldown_time: 0, max_fallbacks: 9, allowed_fails: 1}", vars).Config
	require.Equal(t, 5.0, c.LiteLLM.RequestTimeout)
	require.Equal(t, 9, *c.Router.MaxFallbacks)
	require.Nil(t, c.LiteLLM.NumRetries)
	require.Nil(t, c.LiteLLM.CooldownTime)
	require.Nil(t, c.LiteLLM.AllowedFails)
	_, err := file.Parse("c", nil, env(map[string]string{"REQUEST_TIMEOUT": "soon"}), nil)
	require.ErrorContains(t, err, "REQUEST_TIMEOUT")
}

func TestNothingIsLimitedThatNobodyLimited(t *testing.T) {
	c := parse(t, "model_list: [{model_name: a, litellm_params: {model: openai/a}}]", nil).Config
	empty := parse(t, "", nil).Config
	c.Deployments = nil
	require.Equal(t, empty, c)
	require.Zero(t, *c)
}

func TestMissingVariableIsNamedOnceAndLeavesTheFieldOut(t *testing.T) {
	l := parse(t, `
model_list:
- {model_name: a, litellm_params: {model: openai/a, api_key: os.environ/GONE, tags: [os.environ/GONE, x]}}
- {model_name: b, litellm_params: {model: openai/b, api_key: os.environ/EMPTY}}
`, map[string]string{"EMPTY": ""})
	require.Len(t, l.Warnings, 2)
	require.Equal(t, "config.yaml:3:62: model_list[0].litellm_params.api_key: environment variable GONE is not set; export it or add GONE=… to .env", l.Warnings[0].String())
	require.NotContains(t, l.Config.Deployments[0].Params, "api_key")
	require.NotContains(t, l.Config.Deployments[1].Params, "api_key")
}

func TestFindingsShowNoValuesOfTheEnvironment(t *testing.T) {
	_, err := file.Parse("c", []byte("router_settings: {num_retries: os.environ/S, routing_strategy: os.environ/S}\nlitellm_settings: {rpm: os.environ/S, budget_duration: os.environ/S, drop_params: os.environ/S}"),
		env(map[string]string{"S": "sk-hidden"}), nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "sk-hidden")
}

func TestFileNotThereIsSaidPlainly(t *testing.T) {
	_, err := file.Load(filepath.Join(t.TempDir(), "none.yaml"), env(nil))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "none.yaml")
}

func TestIncludedPathsAreRelativeToTheMainFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.yaml"), []byte("include: [sub/models.yaml]\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "models.yaml"), []byte("model_list: [{model_name: a, litellm_params: {model: openai/a}}]\n"), 0o644))
	l, err := file.Load(filepath.Join(dir, "main.yaml"), env(nil))
	require.NoError(t, err)
	require.Len(t, l.Config.Deployments, 1)
}

func TestMultiplyingAliasesAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	_, err := file.Parse("bomb.yaml", []byte(b.String()), env(nil), nil)
	require.ErrorContains(t, err, "anchors expand to more than")
}

func TestSecretNames(t *testing.T) {
	for _, n := range []string{"api_key", "API_KEY", "x-api-key", "aws_secret_access_key", "aws_session_token", "azure_ad_token", "client_secret",
		"password", "redis_password", "vertex_credentials", "Authorization", "database_url", "langfuse_secret_key", "auth_token", "credentials",
		"LANGFUSE_SECRET_KEY", "SLACK_WEBHOOK_URL", "master_key", "token"} {
		require.True(t, file.IsSecretParam(n), n)
	}
	for _, n := range []string{"model", "max_tokens", "max_completion_tokens", "max_input_tokens", "input_cost_per_token", "cache_read_input_token_cost",
		"api_base", "temperature", "token_rate_limit_type", "litellm_credential_name", "custom_tokenizer", "api_key_env", "stop", "keyword"} {
		require.False(t, file.IsSecretParam(n), n)
	}
}

func TestDotEnvFormsOfThePythonReader(t *testing.T) {
	vars, err := file.ParseDotEnv(".env", []byte("\ufeff# comment\r\nA=1\r\n  export B = two words # note\nC='single $A #x'\nD=\"a\\nb ${A} \\\"q\\\"\" # note\nE=\nF=a#b\nG=\"two\nlines\"\nH=${A}${NONE:-dflt}${UNSET}\nI=it's\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"A": "1", "B": "two words", "C": "single $A #x", "D": "a\nb 1 \"q\"", "E": "", "F": "a#b",
		"G": "two\nlines", "H": "1dflt${UNSET}", "I": "it's"}, vars)
	_, err = file.ParseDotEnv(".env", []byte("A=1\nnonsense\n1X=2\nB='open\n"))
	require.EqualError(t, err, ".env:2:1: want NAME=value; put # before a comment\n.env:3:1: want NAME=value; put # before a comment\n.env:4:1: the value of B has no closing quote; close it with '")
}

func TestDotEnvGivesWayToTheProcessAndToProduction(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(path, []byte("A=file\nB=file\n"), 0o600))
	e, err := file.WithDotEnv(path, env(map[string]string{"A": "process"}))
	require.NoError(t, err)
	a, _ := e("A")
	b, _ := e("B")
	require.Equal(t, []string{"process", "file"}, []string{a, b})
	e, err = file.WithDotEnv(path, env(map[string]string{"LITELLM_MODE": "PRODUCTION"}))
	require.NoError(t, err)
	_, set := e("B")
	require.False(t, set)
	_, err = file.WithDotEnv(path+".none", env(nil))
	require.NoError(t, err)
}

func TestAddressesOfAlertsAreCheckedAndComeFromTheEnvironment(t *testing.T) {
	l := parse(t, "general_settings: {alerting: [slack], alert_to_webhook_url: {budget_alerts: [os.environ/HOOK, https://b], llm_exceptions: https://c, budget_alert: https://d}}",
		map[string]string{"HOOK": "https://a"})
	require.JSONEq(t, `{"budget_alerts":["https://a","https://b"],"llm_exceptions":"https://c","budget_alert":"https://d"}`, string(l.Config.General.Raw["alert_to_webhook_url"]))
	var told []string
	for _, w := range l.Warnings {
		told = append(told, w.Path+": "+w.Problem+": "+w.Hint)
	}
	require.Equal(t, []string{
		"general_settings.alert_to_webhook_url.llm_exceptions: alerts of this kind are not sent in this release: those of budgets are: budget_alerts",
		"general_settings.alert_to_webhook_url.budget_alert: unknown kind of alert: did you mean budget_alerts?",
	}, told)
	for _, bad := range []string{"5", "{budget_alerts: 5}", "{budget_alerts: [[x]]}"} {
		_, err := file.Parse("config.yaml", []byte("general_settings: {alert_to_webhook_url: "+bad+"}"), nil, read)
		require.Error(t, err, bad)
	}
}
