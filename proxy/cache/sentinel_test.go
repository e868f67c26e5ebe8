package cache_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/cache/redistest"
)

// writeSentinel is how a server is started that watches another.
func writeSentinel(t *testing.T, watched *redistest.Server) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "sentinel monitor answers " + watched.Host + " " + watched.Port + " 1\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return []string{path, "--sentinel"}
}
