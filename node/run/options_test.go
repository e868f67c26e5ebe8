package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptionsThatContradictThemselvesAreAllNamed(t *testing.T) {
	used := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(used, "node.json"), []byte("{}"), 0o600))
	cases := []struct {
		name string
		o    Options
		want []string // none: it is good
	}{
		{"alone", Options{}, nil},
		{"join", Options{Join: []string{"10.0.0.1:7946", "node-2:7946", "[::1]:7946"}, Token: "t"}, nil},
		{"join by the cluster's secret", Options{Join: []string{"h:1"}, ClusterSecret: "s"}, nil},
		{"a restart needs no token", Options{DataDir: used, Join: []string{"h:1"}}, nil},
		{"expect", Options{Expect: 3, Peers: []string{"a:7946", "b:7946"}}, nil},
		{"join without a token", Options{Join: []string{"h:1"}}, []string{"no join token", "tollgate token create"}},
		{"token without join", Options{Token: "t"}, []string{"only for joining"}},
		{"bad addresses", Options{Join: []string{"h", ":7946", "0.0.0.0:1", "h:0", "h:x", "h:70000"}, Token: "t"},
			[]string{`"h"`, `":7946"`, `"0.0.0.0:1"`, `"h:0"`, `"h:x"`, `"h:70000"`}},
		{"expect without peers", Options{Expect: 3}, []string{"--expect needs --peers"}},
		{"peers without expect", Options{Peers: []string{"a:1"}}, []string{"--peers needs --expect"}},
		{"bad peer", Options{Expect: 3, Peers: []string{"a"}}, []string{`--peers "a"`}},
		{"both ways", Options{Expect: -1, Peers: []string{"a:1"}, Join: []string{"b:1"}, Token: "t"}, []string{"--expect must not be negative", "leave one of them out"}},
		{"advertise", Options{Advertise: ":7946"}, []string{"--advertise"}},
		{"times", Options{DrainNotice: -time.Second, DrainTimeout: -1}, []string{"--drain-notice", "--drain-timeout"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.o.DataDir == "" {
				c.o.DataDir = t.TempDir()
			}
			err := c.o.WithDefaults().Validate()
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), len(c.want)-strings.Count(strings.Join(c.want, ""), "tollgate token create"))
		})
	}
}
