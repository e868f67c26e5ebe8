package join_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAStrangerDoesNotFillTheLog(t *testing.T) {
	for name, ask := range map[string]map[string]any{
		"of another version": {"v": 99, "op": "join"},
		"in long words":      {"v": 1, "op": strings.Repeat("o", 10_000), "token": strings.Repeat("t", 10_000), "node": map[string]string{"id": strings.Repeat("n", 10_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, clusterID)
			var log bytes.Buffer
			c.deps.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.serve()
			text, err := json.Marshal(ask)
			require.NoError(t, err)
			for range 50 {
				conn, err := c.dial(t.Context(), "")
				require.NoError(t, err)
				_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
				require.NoError(t, err)
				answer, err := io.ReadAll(conn) // served when it ends
				require.NoError(t, err)
				require.Contains(t, string(answer), "refused")
				require.NoError(t, conn.Close())
			}
			lines := strings.Count(log.String(), "join refused")
			require.Positive(t, lines)
			require.LessOrEqual(t, lines, 6, "five tries, and that there are no more")
			require.Less(t, log.Len(), 6*1024)
		})
	}
}
