package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/node/run"
)

// served runs a command line whose node only notes its options.
func served(t *testing.T, args ...string) (run.Options, string, int) {
	t.Helper()
	var got run.Options
	var out, errOut bytes.Buffer
	root := newRoot(&out, &errOut, nodeFuncs{serve: func(_ context.Context, o run.Options) error {
		got = o
		return nil
	}})
	status := execute(root, args, &errOut)
	return got, errOut.String(), status
}

// bare gives a test an empty working folder and an environment without the
// names that serve reads.
func bare(t *testing.T, env ...string) string {
	t.Helper()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "TOLLGATE_") || strings.HasPrefix(name, "LITELLM_") || contains([]string{"HOST", "PORT", "CONFIG_FILE_PATH", "JSON_LOGS"}, name) {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

func TestCommandLineWinsOverEnvironmentWinsOverDotEnv(t *testing.T) {
	cases := []struct {
		name   string
		dotEnv string
		env    []string
		args   []string
		check  func(*testing.T, run.Options)
	}{
		{"defaults", "", nil, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, ":4000", o.Listen)
			require.Equal(t, "data", o.DataDir)
			require.Empty(t, o.ConfigFile)
			require.Equal(t, 120*time.Second, o.WithDefaults().DrainTimeout)
		}},
		{"flag", "", []string{"TOLLGATE_REGION=env"}, []string{"serve", "--region", "flag"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "flag", o.Region)
		}},
		{"our variable", "TOLLGATE_REGION=file\n", []string{"TOLLGATE_REGION=env"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "env", o.Region)
		}},
		{".env", "TOLLGATE_REGION=file\nTOLLGATE_DRAIN_TIMEOUT=5s\nLITELLM_LOG=DEBUG\nJSON_LOGS=True\n", nil, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "file", o.Region)
			require.Equal(t, 5*time.Second, o.DrainTimeout)
			require.Equal(t, "DEBUG", o.LogLevel)
			require.True(t, o.LogJSON)
		}},
		{".env is left unread in production", "TOLLGATE_REGION=file\n", []string{"LITELLM_MODE=PRODUCTION"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Empty(t, o.Region)
		}},
		{"ours before LiteLLM's", "", []string{"TOLLGATE_CONFIG=ours.yaml", "CONFIG_FILE_PATH=theirs.yaml"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "ours.yaml", o.ConfigFile)
		}},
		{"LiteLLM's names", "PORT=4001\n", []string{"CONFIG_FILE_PATH=theirs.yaml", "HOST=127.0.0.1"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "theirs.yaml", o.ConfigFile)
			require.Equal(t, "127.0.0.1:4001", o.Listen)
		}},
		{"TOLLGATE_LISTEN before PORT", "", []string{"TOLLGATE_LISTEN=:5000", "PORT=4001"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.Equal(t, ":5000", o.Listen)
		}},
		{"--port before TOLLGATE_LISTEN", "", []string{"TOLLGATE_LISTEN=:5000"}, []string{"serve", "--port", "4002"}, func(t *testing.T, o run.Options) {
			require.Equal(t, ":4002", o.Listen)
		}},
		{"--listen before --port", "", []string{"PORT=1"}, []string{"serve", "--listen", ":6000", "--port", "4002"}, func(t *testing.T, o run.Options) {
			require.Equal(t, ":6000", o.Listen)
		}},
		{"LiteLLM's way to start, without a command", "", nil, []string{"-c", "x.yaml", "--host", "::1", "--port", "8000", "--num_workers", "8", "--detailed_debug"}, func(t *testing.T, o run.Options) {
			require.Equal(t, "x.yaml", o.ConfigFile)
			require.Equal(t, "[::1]:8000", o.Listen)
			require.Equal(t, "DEBUG", o.LogLevel)
		}},
		{"sizes", "", []string{"TOLLGATE_LEDGER_MAX_BYTES=20GB"}, []string{"serve"}, func(t *testing.T, o run.Options) {
			require.EqualValues(t, 20e9, o.LedgerMax)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := bare(t, c.env...)
			if c.dotEnv != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte(c.dotEnv), 0o600))
			}
			o, said, status := served(t, c.args...)
			require.Zero(t, status, said)
			c.check(t, o)
		})
	}
}

func TestASlipInAFlagIsOneSentenceThatSaysWhatIsWanted(t *testing.T) {
	cases := []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"serve", "--port", "banana"}, `tollgate: --port "banana": want a whole number`},
		{nil, []string{"serve", "--port", "70000"}, `tollgate: --port 70000: want 1 to 65535`},
		{nil, []string{"serve", "--drain-timeout", "5"}, `tollgate: --drain-timeout "5": want a duration such as 90s or 2m`},
		{[]string{"TOLLGATE_DRAIN_TIMEOUT=soon"}, []string{"serve"}, `tollgate: TOLLGATE_DRAIN_TIMEOUT="soon": want a duration such as 90s or 2m`},
		{[]string{"PORT=http"}, []string{"serve"}, `tollgate: PORT="http": want a whole number`},
		{nil, []string{"serve", "--debug=perhaps"}, `tollgate: --debug "perhaps": want true or false`},
		{nil, []string{"serve", "--ledger-max-bytes", "much"}, `tollgate: --ledger-max-bytes "much": want a size such as 20GB`},
		{nil, []string{"serve", "--confg", "x"}, "tollgate: unknown flag: --confg: did you mean --config? (see `tollgate serve --help`)"},
		{nil, []string{"--prot", "1"}, "tollgate: unknown flag: --prot: did you mean --port? (see `tollgate serve --help`)"},
		{nil, []string{"serve", "--config"}, "tollgate: flag needs an argument: --config (see `tollgate serve --help`)"},
		{nil, []string{"nope"}, `tollgate: unknown command "nope" for "tollgate"`},
		{nil, []string{"key", "lst"}, `tollgate: unknown command "lst" for "tollgate key"`},
		{nil, []string{"config", "check"}, `tollgate: unknown command "check" for "tollgate config"`},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			bare(t, c.env...)
			_, said, status := served(t, c.args...)
			require.Equal(t, 1, status)
			require.Equal(t, c.want, strings.TrimSpace(said))
		})
	}
}

func TestABadDotEnvStopsTheStartWithItsLine(t *testing.T) {
	dir := bare(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("A=1\nno value here\n"), 0o600))
	_, said, status := served(t, "serve")
	require.Equal(t, 1, status)
	require.Contains(t, said, ".env:2")
}

func TestAFailedStartSaysHowToMendIt(t *testing.T) {
	cases := []struct {
		err  error
		want string
	}{
		{cluster.ErrInUse, "--data-dir"},
		{syscall.EADDRINUSE, "choose another address"},
		{syscall.EADDRNOTAVAIL, "does not have that address"},
		{fs.ErrPermission, "give this user the right"},
		{syscall.ENOSPC, "make room"},
		{syscall.EROFS, "writable directory"},
	}
	for _, c := range cases {
		err := mend(fmt.Errorf("start: %w", c.err))
		require.ErrorIs(t, err, c.err)
		require.ErrorContains(t, err, c.want)
	}
	plain := errors.New("plain")
	require.Equal(t, plain, mend(plain))
	require.NoError(t, mend(nil))
}

func TestStartsThatCannotWorkStopWithWhatAndWhere(t *testing.T) {
	dir := bare(t, "LITELLM_MASTER_KEY=sk-test")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("model_list: 3\nrouter_settings:\n  timeout: soon\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	cases := []struct {
		args []string
		want []string
	}{
		{[]string{"serve", "--config", "gone.yaml"}, []string{"gone.yaml", "no such file"}},
		{[]string{"serve", "--config", "bad.yaml"}, []string{"bad.yaml:1:13", "model_list", "bad.yaml:3:12", "router_settings.timeout"}},
		{[]string{"serve", "--data-dir", "file"}, []string{"--data-dir file is a file"}},
		{[]string{"serve", "--data-dir", "file/below"}, []string{"file"}},
		{[]string{"serve", "--listen", "4000", "--cluster-listen", "x"}, []string{`--listen "4000"`, `--cluster-listen "x"`, "want HOST:PORT"}},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var out, errOut bytes.Buffer
			require.Equal(t, 1, Main(c.args, &out, &errOut))
			for _, w := range c.want {
				require.Contains(t, errOut.String(), w)
			}
			require.NotContains(t, errOut.String(), "goroutine")
		})
	}
}

func TestSizesAreReadInTheirUnits(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "500MB": 500e6, "20GB": 20e9, "1GiB": 1 << 30, "1.5 kib": 1536, "2tb": 2e12, "7b": 7} {
		n, err := parseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "GB", "-1GB", "0", "many", "1XB", "inf", "nan", "1e30GB"} {
		_, err := parseBytes(text)
		require.Error(t, err, text)
	}
}
