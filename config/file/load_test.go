package file_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
)

func TestQuick(t *testing.T) {
	l, err := file.Load("../config.yaml", func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	for _, w := range l.Warnings {
		t.Log(w)
	}
	require.Empty(t, l.Skipped)
	t.Logf("%+v", l.Config.LiteLLM)
	t.Logf("%+v", l.Config.Router)
	t.Logf("%+v", l.Config.Tollgate)
}
