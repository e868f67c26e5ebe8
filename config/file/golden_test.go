package file_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
)

func env(vars map[string]string) file.Env {
	return func(name string) (string, bool) {
		s, ok := vars[name]
		return s, ok
	}
}

var usual = env(map[string]string{
	"OPENAI_API_KEY": "sk-openai", "LITELLM_MASTER_KEY": "sk-1234", "TIMEOUT": "30", "DROP": "True", "STOP": "END",
})

func read(name string) ([]byte, error) {
	switch name {
	case "more.yaml":
		return []byte("model_list:\n  - model_name: included\n    litellm_params: {model: groq/llama}\ncallback_settings: {otel: {message_logging: false}}\n"), nil
	case "prices.json":
		return []byte(`{"openai/x": {"input_cost_per_token": 1e-6}}`), nil
	case "loop.yaml":
		return []byte("include: [loop.yaml]\nlitellm_settings: {num_retries: x}\n"), nil
	case "broken.yaml":
		return []byte("a: [\n"), nil
	}
	return nil, os.ErrNotExist
}

// golden compares with a file beside the input; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestGoodFilesMeanWhatTheyMeanInLiteLLM(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			l, err := file.Parse(filepath.Base(path), data, usual, read)
			require.NoError(t, err)
			text, err := json.Marshal(l.Config)
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, json.Indent(&out, text, "", "  "))
			out.WriteString("\n")
			for _, f := range l.Skipped {
				out.WriteString("skipped " + f.String() + "\n")
			}
			for _, f := range l.Warnings {
				out.WriteString("warning " + f.String() + "\n")
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", out.Bytes())
		})
	}
}

func TestBadFilesAreRefusedWithEveryFaultAndItsLine(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			_, err = file.Parse(filepath.Base(path), data, usual, read)
			var faults file.Findings
			require.True(t, errors.As(err, &faults))
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", []byte(faults.Error()+"\n"))
		})
	}
}
