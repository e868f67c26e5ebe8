package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/node/run"
)

func sampleSnapshot(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repository(t), "cluster/fsm/testdata/snapshot-v1.golden"))
	require.NoError(t, err)
	return string(raw)
}

// files are the names in the working folder.
func files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestABackupIsCheckedBeforeItGetsItsName(t *testing.T) {
	content := sampleSnapshot(t)
	node(t, map[string]string{"GET /cluster/backup": content})
	out, said, status := command(t, "backup", "b.snapshot")
	require.Zero(t, status, said)
	require.Regexp(t, `^b\.snapshot: .*, \d+ records, the state of cluster \S+ at index \d+; checked\n$`, out)
	require.Equal(t, []string{"b.snapshot"}, files(t))
	raw, err := os.ReadFile("b.snapshot")
	require.NoError(t, err)
	require.Equal(t, content, string(raw))
	st, err := os.Stat("b.snapshot")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())

	out, said, status = command(t, "snapshot", "verify", "b.snapshot")
	require.Zero(t, status, said)
	require.Contains(t, out, "b.snapshot: good: ")
	out, _, status = command(t, "snapshot", "verify", "b.snapshot", "--output", "json")
	require.Zero(t, status)
	require.Contains(t, out, `"cluster_id"`)

	_, said, status = command(t, "backup", "b.snapshot")
	require.Equal(t, 1, status)
	require.Contains(t, said, "--force")
	_, said, status = command(t, "backup", "b.snapshot", "--force")
	require.Zero(t, status, said)
}

func TestABackupWithoutANameHasTheDateInIt(t *testing.T) {
	node(t, map[string]string{"GET /cluster/backup": sampleSnapshot(t)})
	_, said, status := command(t, "backup")
	require.Zero(t, status, said)
	require.Len(t, files(t), 1)
	require.Regexp(t, `^tollgate-\d{8}-\d{6}\.snapshot$`, files(t)[0])
}

func TestABackupThatIsNotWholeLeavesNothingBehind(t *testing.T) {
	content := sampleSnapshot(t)
	for name, part := range map[string]string{"cut": content[:len(content)-9], "empty": "", "foreign": "{}"} {
		node(t, map[string]string{"GET /cluster/backup": part})
		require.NoError(t, os.WriteFile("old.snapshot", []byte("old"), 0o600))
		_, said, status := command(t, "backup", "old.snapshot", "--force")
		require.Equal(t, 1, status, name)
		require.Contains(t, said, "nothing was kept")
		require.Equal(t, []string{"old.snapshot"}, files(t))
		raw, err := os.ReadFile("old.snapshot")
		require.NoError(t, err)
		require.Equal(t, "old", string(raw))

		require.NoError(t, os.WriteFile("part", []byte(part), 0o600))
		_, said, status = command(t, "snapshot", "verify", "part")
		require.Equal(t, 1, status, name)
		require.Contains(t, said, "part: verify snapshot:")
	}
	node(t, nil)
	_, said, status := command(t, "backup")
	require.Equal(t, 1, status)
	require.Contains(t, said, "404 Not Found")
	require.Empty(t, files(t))
}

func TestOfflineCommandsHandTheirOptionsOn(t *testing.T) {
	dir := bare(t, "TOLLGATE_PEERS=a:1,b:1", "TOLLGATE_DATA_DIR=/from/env")
	var restored run.RestoreOptions
	var recovered run.RecoverOptions
	n := nodeFuncs{
		restore: func(_ context.Context, o run.RestoreOptions) error { restored = o; return nil },
		recovery: func(_ context.Context, o run.RecoverOptions) error {
			recovered = o
			return errors.New("no state there")
		},
	}
	_, said, status := commandOf(n, "restore", "b.snapshot", "--data-dir", dir)
	require.Zero(t, status, said)
	require.Equal(t, []string{"b.snapshot", dir}, []string{restored.File, restored.DataDir})
	require.NotNil(t, restored.Env)
	require.NotNil(t, restored.Out)

	_, said, status = commandOf(n, "recover")
	require.Equal(t, 1, status)
	require.Equal(t, "tollgate: no state there\n", said)
	require.Equal(t, []string{"/from/env", ""}, []string{recovered.DataDir, recovered.PeersFile}, "a node's peers are no file")
	_, _, _ = commandOf(n, "recover", "--peers", "peers.json")
	require.Equal(t, "peers.json", recovered.PeersFile)
}

func TestACommandWithoutItsFunctionIsNotThere(t *testing.T) {
	_, said, status := commandOf(nodeFuncs{}, "restore", "x")
	require.Equal(t, 1, status)
	require.Contains(t, said, `unknown command "restore"`)
}
