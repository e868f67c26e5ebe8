package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/node/run"
)

func TestJoinTakesAddressesATokenAndTheFlagsOfServe(t *testing.T) {
	cases := []struct {
		name  string
		env   []string
		args  string
		check func(*testing.T, run.Options)
	}{
		{"flags", nil, "join a:7946,b:7946 c:1 --token tok --region eu --listen :5000 --drain-notice 5s --database-region us", func(t *testing.T, o run.Options) {
			require.Equal(t, []string{"a:7946", "b:7946", "c:1"}, o.Join)
			require.Equal(t, []string{"tok", "eu", ":5000", "us"}, []string{o.Token, o.Region, o.Listen, o.DatabaseRegion})
			require.Equal(t, 5*time.Second, o.DrainNotice)
		}},
		{"token of the environment", []string{"TOLLGATE_TOKEN=env"}, "join a:1", func(t *testing.T, o run.Options) { require.Equal(t, "env", o.Token) }},
		{"token of a file", nil, "join a:1 --token-file tok", func(t *testing.T, o run.Options) { require.Equal(t, "filed", o.Token) }},
		{"file before environment", []string{"TOLLGATE_TOKEN=env"}, "join a:1 --token-file tok", func(t *testing.T, o run.Options) { require.Equal(t, "filed", o.Token) }},
		{"flag before the environment's file", []string{"TOLLGATE_TOKEN_FILE=gone"}, "join a:1 --token typed", func(t *testing.T, o run.Options) { require.Equal(t, "typed", o.Token) }},
		{"serve starts with others", []string{"TOLLGATE_CLUSTER_SECRET=s"}, "serve --expect 3 --peers a:1,b:1", func(t *testing.T, o run.Options) {
			require.Equal(t, 3, o.Expect)
			require.Equal(t, []string{"a:1", "b:1"}, o.Peers)
			require.Equal(t, "s", o.ClusterSecret)
		}},
		{"serve by the environment", []string{"TOLLGATE_EXPECT=5", "TOLLGATE_PEERS=a:1, b:2"}, "serve", func(t *testing.T, o run.Options) {
			require.Equal(t, 5, o.Expect)
			require.Equal(t, []string{"a:1", "b:2"}, o.Peers)
		}},
		{"serve does not take a token for itself", []string{"TOLLGATE_TOKEN=env"}, "serve", func(t *testing.T, o run.Options) { require.Empty(t, o.Token) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := bare(t, c.env...)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "tok"), []byte("filed\n"), 0o600))
			o, said, status := served(t, strings.Fields(c.args)...)
			require.Zero(t, status, said)
			c.check(t, o)
		})
	}
}

func TestSlipsInJoinAreToldWithWhatToDo(t *testing.T) {
	cases := []struct{ args, want string }{
		{"join", "requires at least 1 arg"},
		{"join , --token t", "no node to join"},
		{"join a:1 --token t --token-file f", "--token and --token-file: give one of them"},
		{"join a:1 --token-file gone", "--token-file: open gone"},
		{"serve --expect three", `--expect "three": want a whole number`},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			bare(t)
			_, said, status := served(t, strings.Fields(c.args)...)
			require.Equal(t, 1, status)
			require.Contains(t, said, c.want)
		})
	}
}
