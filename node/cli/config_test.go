package cli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write golden files and docs/cli.md")

// golden compares text with a kept file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test ./node/cli -update")
	require.Equal(t, string(want), got, "run go test ./node/cli -update if the change is meant")
}

// root is the repository's.
func repository(t *testing.T) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	require.True(t, ok)
	return filepath.Dir(filepath.Dir(filepath.Dir(here)))
}

const sampleConfig = `model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: sk-openai-secret, rpm: 60}
  - model_name: claude
    litellm_params: {model: anthropic/claude-3-5-haiku-20241022, api_key: os.environ/SAMPLE_KEY}
general_settings:
  master_key: sk-master-secret
  database_url: postgres://user:password-secret@host/db
tollgate_settings:
  ledger: {sync: always}
  max_request_bytes: 1000000
`

func TestShowPrintsTheConfigAsANodeReadsItWithoutSecrets(t *testing.T) {
	path := filepath.Join(repository(t), "node/cli/testdata/show.golden")
	dir := bare(t, "SAMPLE_KEY=sk-environment-secret")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(sampleConfig), 0o600))
	out, said, status := command(t, "config", "show", "config.yaml", "--effective")
	require.Zero(t, status, said)
	require.NotContains(t, out, "secret")
	require.NotContains(t, said, "secret")
	golden(t, path, out)
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var v map[string]any
		require.NoError(t, dec.Decode(&v))
	}
}

// What is secret does not follow from a field's own name alone.
func TestShowHidesWhatStandsUnderASecretName(t *testing.T) {
	dir := bare(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(`model_list:
  - model_name: v
    litellm_params: {model: vertex_ai/x, vertex_credentials: {private: hide-me, kind: hide-me}}
environment_variables: {ANY: hide-me}
credential_list:
  - credential_name: c
    credential_values: {api_base: "https://hide-me", user: hide-me}
`), 0o600))
	out, said, status := command(t, "config", "show", "config.yaml")
	require.Zero(t, status, said)
	require.Contains(t, out, "vertex_ai/x")
	require.NotContains(t, out, "hide-me")
}

func TestValidateReportsEveryFaultWithItsLine(t *testing.T) {
	path := filepath.Join(repository(t), "node/cli/testdata/validate.golden")
	dir := bare(t)
	bad := "model_list:\n  - model_name: a\nrouter_settings:\n  timeout: soon\n  routing_strategy: luck\ntollgate_settings:\n  ledger.sync: sometimes\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(bad), 0o600))
	out, said, status := command(t, "config", "validate", "bad.yaml")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	golden(t, path, said)
}

func TestValidateTakesTheFileAsArgumentFlagOrVariable(t *testing.T) {
	dir := bare(t, "SAMPLE_KEY=x")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(sampleConfig), 0o600))
	for _, args := range [][]string{{"c.yaml"}, {"--config", "c.yaml"}, {"-c", "c.yaml"}} {
		out, said, status := command(t, append([]string{"config", "validate"}, args...)...)
		require.Zero(t, status, said)
		require.Contains(t, out, "c.yaml: good: 2 deployments")
	}
	t.Setenv("CONFIG_FILE_PATH", "c.yaml")
	_, said, status := command(t, "config", "validate")
	require.Zero(t, status, said)
	require.NoError(t, os.Unsetenv("CONFIG_FILE_PATH"))
	_, said, status = command(t, "config", "validate")
	require.Equal(t, 1, status)
	require.Contains(t, said, "no file: name one")
}

func TestASkippedEntryFailsTheCheckThatTheNodeWouldSurvive(t *testing.T) {
	dir := bare(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("model_list:\n  - model_name: a\n  - model_name: b\n    litellm_params: {model: openai/b, api_key: k}\n"), 0o600))
	out, said, status := command(t, "config", "validate", "c.yaml")
	require.Equal(t, 1, status)
	require.Contains(t, said, "skipped:")
	require.Contains(t, out, "1 deployments")
}

func TestTheShippedConfigIsGood(t *testing.T) {
	path := filepath.Join(repository(t), "config/config.yaml")
	bare(t, "LITELLM_MASTER_KEY=sk-x", "OPENAI_API_KEY=x", "ANTHROPIC_API_KEY=x")
	out, said, status := command(t, "config", "validate", path)
	require.Zero(t, status, said)
	require.Contains(t, out, "good: 5 deployments")
}
