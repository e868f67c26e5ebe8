package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/server"
)

func TestNodeWithoutALeaderRefusesModelCallsOnlyWhereOperatorsWantIt(t *testing.T) {
	for name, c := range map[string]struct {
		allowed float64
		stale   time.Duration
		refused bool
	}{
		"nothing set":        {0, time.Hour, false},
		"within the time":    {60, 59 * time.Second, false},
		"longer than wanted": {60, 61 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			st := state.NewStore(func(*state.Snapshot) *state.Routing {
				return &state.Routing{Config: &model.Config{Tollgate: model.TollgateSettings{StaleAfter: c.allowed}}}
			})
			st.Recompile()
			srv := server.New(server.Deps{State: st, MasterHash: func() string { return auth.Hash([]byte(master)) },
				Management: &rooms{}, Readiness: &rooms{}, Staleness: func() time.Duration { return c.stale },
				Gatherer: prometheus.NewRegistry(), Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- srv.Run(ctx, ln, time.Second) }()
			defer func() { stop(); require.NoError(t, <-done) }()
			// A body that cannot be read is refused after the look at the state.
			req, err := http.NewRequest("POST", "http://"+ln.Addr().String()+"/v1/chat/completions", strings.NewReader("x"))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+master)
			req.Header.Set("Content-Encoding", "nobody-knows")
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			if c.refused {
				require.Equal(t, 503, res.StatusCode)
				require.Contains(t, string(body), `"code":"state_behind"`)
				return
			}
			require.NotEqual(t, 503, res.StatusCode, string(body))
		})
	}
}
