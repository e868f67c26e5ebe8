package file_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
	"tollgate/config/model"
)

func parsed(t *testing.T, text string) *model.Config {
	t.Helper()
	l, err := file.Parse("config.yaml", []byte(text), nil, nil)
	require.NoError(t, err)
	return l.Config
}

func TestDiffNamesWhatChangedAndHidesSecrets(t *testing.T) {
	old := parsed(t, `
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, api_key: sk-old-secret, rpm: 10}
  - model_name: gone
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-gone-secret}
litellm_settings: {num_retries: 2}
environment_variables: {A: one-secret, B: same-secret}
`)
	next := parsed(t, `
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, api_key: sk-new-secret, rpm: 20}
litellm_settings: {num_retries: 2, drop_params: true}
environment_variables: {A: two-secret, B: same-secret}
`)
	got, err := file.Diff(old, next)
	require.NoError(t, err)
	byPath := map[string]file.Difference{}
	for _, d := range got {
		byPath[d.Path] = d
	}
	require.Equal(t, file.Difference{Path: "model_list[a].litellm_params.api_key", Old: "****", New: "****"}, byPath["model_list[a].litellm_params.api_key"])
	require.Equal(t, file.Difference{Path: "model_list[a].litellm_params.rpm", Old: "10", New: "20"}, byPath["model_list[a].litellm_params.rpm"])
	require.Equal(t, file.Difference{Path: "litellm_settings.drop_params", New: "true"}, byPath["litellm_settings.drop_params"])
	require.Equal(t, "****", byPath["environment_variables.A"].Old)
	require.NotContains(t, byPath, "environment_variables.B")
	require.Contains(t, byPath["model_list[gone]"].Old, "gpt-4o-mini")
	require.Empty(t, byPath["model_list[gone]"].New)
	require.Len(t, got, 5)
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "secret")

	same, err := file.Diff(old, old)
	require.NoError(t, err)
	require.Empty(t, same)
}

// Sections that this release does not read are kept and compared as well; lists
// of objects among them.
func TestDiffHidesSecretsInsideLists(t *testing.T) {
	old := parsed(t, `
guardrails:
  - guardrail_name: g
    litellm_params: {mode: pre_call, api_key: hide-me-old}
`)
	next := parsed(t, `
guardrails:
  - guardrail_name: g
    litellm_params: {mode: post_call, api_key: hide-me-new}
`)
	got, err := file.Diff(old, next)
	require.NoError(t, err)
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.Contains(t, string(raw), "post_call")
	require.NotContains(t, string(raw), "hide-me")
}

// A config without a section that the other has: the section is one difference.
func TestDiffHidesSecretsOfWholeSections(t *testing.T) {
	full := parsed(t, `
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, api_key: hide-me-key}
environment_variables: {A: hide-me-too}
guardrails:
  - guardrail_name: g
    litellm_params: {mode: pre_call, api_key: hide-me-old}
`)
	for _, pair := range [][2]*model.Config{{full, parsed(t, "")}, {parsed(t, ""), full}} {
		got, err := file.Diff(pair[0], pair[1])
		require.NoError(t, err)
		raw, err := json.Marshal(got)
		require.NoError(t, err)
		require.Contains(t, string(raw), "gpt-4o")
		require.NotContains(t, string(raw), "hide-me")
	}
}

func TestMaskedShowsNoSecretOfAnySection(t *testing.T) {
	cfg := parsed(t, `
model_list:
  - model_name: a
    litellm_params: {model: vertex_ai/x, vertex_credentials: {private_key: hide-me, type: hide-me}, extra_headers: {authorization: hide-me}}
general_settings: {database_url: "postgresql://u:hide-me@h/d", master_key: sk-hide-me}
environment_variables: {ANY: hide-me}
credential_list:
  - credential_name: c
    credential_values: {api_base: hide-me}
`)
	v, err := file.Masked(cfg)
	require.NoError(t, err)
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "hide-me")
	require.Contains(t, string(raw), "vertex_ai/x")
}
