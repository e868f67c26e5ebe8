package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadyIsOneWordAndAStatusWithoutAnyKey(t *testing.T) {
	bare(t)
	for _, c := range []struct {
		status int
		answer string
		word   string
	}{
		{200, `{"status":"healthy"}`, "ready"},
		{503, `{"detail":"Service Unhealthy (draining)"}`, "draining"},
		{503, `{"detail":"Service Unhealthy (no configuration yet)"}`, "unready"},
		{503, `{"error":{"message":"This node is starting (waiting for a leader).","code":"starting"}}`, "starting"},
		{502, `<html>Bad Gateway</html>`, "unready"},
	} {
		addr, asked := gateway(t, c.status, c.answer)
		out, said, status := command(t, "status", "--ready", "--addr", addr+"/")
		require.Equal(t, c.word+"\n", out)
		require.Empty(t, said)
		require.Equal(t, c.word != "ready", status != 0)
		require.Len(t, *asked, 1)
		require.Equal(t, "/health/readiness", (*asked)[0].target)
		require.Empty(t, (*asked)[0].auth)

		out, _, status = command(t, "status", "--ready", "--output", "json", "--addr", addr)
		var v struct {
			Ready         bool
			State, Reason string
		}
		require.NoError(t, json.Unmarshal([]byte(out), &v), out)
		require.Equal(t, c.word == "ready", v.Ready)
		require.Equal(t, c.word, v.State)
		require.Equal(t, v.Ready, v.Reason == "")
		require.Equal(t, !v.Ready, status != 0)
	}
}

func TestReadyAsksWhereTheNodeOfTheSameVariablesListens(t *testing.T) {
	addr, asked := gateway(t, 200, `{}`)
	_, port, found := strings.Cut(strings.TrimPrefix(addr, "http://"), ":")
	require.True(t, found)
	for _, variable := range []string{"PORT=" + port, "TOLLGATE_LISTEN=:" + port, "TOLLGATE_LISTEN=0.0.0.0:" + port, "TOLLGATE_LISTEN=127.0.0.1:" + port, "TOLLGATE_ADDR=" + addr} {
		bare(t, variable)
		out, said, status := command(t, "status", "--ready")
		require.Zero(t, status, "%s: %s", variable, said)
		require.Equal(t, "ready\n", out)
	}
	require.Len(t, *asked, 5)
}

func TestANodeThatIsNotThereIsAbsentAndReadyIsNotWatched(t *testing.T) {
	bare(t)
	out, said, status := command(t, "status", "--ready", "--addr", "http://127.0.0.1:1")
	require.Equal(t, 1, status)
	require.Equal(t, "absent\n", out)
	require.Empty(t, said)
	_, said, status = command(t, "status", "--ready", "--watch")
	require.Equal(t, 1, status)
	require.Contains(t, said, "ready")
	require.Contains(t, said, "watch")
}
