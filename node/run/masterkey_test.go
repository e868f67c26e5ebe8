package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodeWithoutAMasterKeyMakesOneAndKeepsIt(t *testing.T) {
	o := Options{DataDir: t.TempDir()}
	key, path, err := masterKey(o, "")
	require.NoError(t, err)
	require.Regexp(t, `^sk-[A-Za-z0-9_-]{32}$`, key)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	again, _, err := masterKey(o, "")
	require.NoError(t, err)
	require.Equal(t, key, again)
	other, _, err := masterKey(Options{DataDir: t.TempDir()}, "")
	require.NoError(t, err)
	require.NotEqual(t, key, other)
}

func TestGivenMasterKeyIsNotWrittenAnywhere(t *testing.T) {
	o := Options{DataDir: t.TempDir()}
	key, path, err := masterKey(o, "sk-given")
	require.NoError(t, err)
	require.Equal(t, "sk-given", key)
	require.Empty(t, path)
	files, err := filepath.Glob(filepath.Join(o.DataDir, "*"))
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestEmptyMasterKeyFileIsNoKey(t *testing.T) {
	o := Options{DataDir: t.TempDir()}
	require.NoError(t, os.WriteFile(o.path(masterKeyFile), []byte("\n"), 0o600))
	_, _, err := masterKey(o, "")
	require.Error(t, err, "an empty key would be nobody's, or everybody's")
}
