package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func boot(id string) func() string { return func() string { return id } }

func TestIdentityStaysAndIncarnationCounts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := LoadIdentity(dir)
	require.NoError(t, err)
	require.Len(t, first.NodeID, 26)
	require.Equal(t, uint64(1), first.Incarnation)
	require.False(t, first.Unclean)
	require.NoError(t, first.SetCluster("01C"))
	require.NoError(t, first.CleanShutdown())

	second, err := LoadIdentity(dir)
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, first.NodeID, second.NodeID)
	require.Equal(t, "01C", second.ClusterID)
	require.Equal(t, uint64(2), second.Incarnation)
	require.False(t, second.Unclean)
	require.False(t, second.Rebooted)
}

func TestRebootIsNoticedOnlyAfterAnUncleanRun(t *testing.T) {
	for _, c := range []struct {
		name              string
		before, now       string
		clean             bool
		unclean, rebooted bool
	}{
		{"clean, same boot", "a", "a", true, false, false},
		{"clean, machine restarted", "a", "b", true, false, false},
		{"killed, same boot", "a", "a", false, true, false},
		{"power cut", "a", "b", false, true, true},
		{"killed, machine does not say", "", "", false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			id, err := loadIdentity(dir, boot(c.before))
			require.NoError(t, err)
			if c.clean {
				require.NoError(t, id.CleanShutdown())
			} else {
				require.NoError(t, id.Close())
			}
			id, err = loadIdentity(dir, boot(c.now))
			require.NoError(t, err)
			defer id.Close()
			require.Equal(t, c.unclean, id.Unclean)
			require.Equal(t, c.rebooted, id.Rebooted)
		})
	}
}

func TestDataDirectoryIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	id, err := LoadIdentity(dir)
	require.NoError(t, err)
	_, err = LoadIdentity(dir)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, id.Close())
	require.NoError(t, id.Close())
	again, err := LoadIdentity(dir)
	require.NoError(t, err)
	require.Equal(t, uint64(2), again.Incarnation, "the refused start counted nothing")
	require.NoError(t, again.Close())
}

func TestDamagedIdentityIsNotReplaced(t *testing.T) {
	for name, text := range map[string]string{
		"cut": `{"node_id":`, "not an id": `{"node_id":"me"}`, "newer": `{"form":9,"node_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, identityFile)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := LoadIdentity(dir)
		require.ErrorContains(t, err, path, name)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(left))
	}
}

func TestGoldenIdentityIsReadable(t *testing.T) {
	dir := t.TempDir()
	golden, err := os.ReadFile(filepath.Join("testdata", "node-v1.golden.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile), golden, 0o600))
	id, err := LoadIdentity(dir)
	require.NoError(t, err)
	defer id.Close()
	require.Equal(t, "01ARZ3NDEKTSV4RRFFQ69G5FAV", id.NodeID)
	require.Equal(t, "01BX5ZZKBKACTAV9WEVGEMMVS0", id.ClusterID)
	require.Equal(t, uint64(42), id.Incarnation)
}
