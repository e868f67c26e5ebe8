package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/config/file"
	"tollgate/node/run"
)

// serveAlso are LiteLLM's own names of what serve takes.
var serveAlso = map[string][]string{
	"config": {"CONFIG_FILE_PATH"},
	"host":   {"HOST"},
	"port":   {"PORT"},
}

// serveFunc runs a node until the context ends.
type serveFunc func(context.Context, run.Options) error

func newServe(serve serveFunc) *cobra.Command {
	var n nodeFlags
	var peers string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: an empty data directory starts a cluster of one, a used one restarts",
		Example: "  tollgate serve --config config/config.yaml --data-dir /var/lib/tollgate\n" +
			"  LITELLM_MASTER_KEY=sk-1234 tollgate serve --config config.yaml --listen :4000\n" +
			"  tollgate serve --config config.yaml --expect 3 --peers node-1:7946,node-2:7946,node-3:7946",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := n.read(cmd); err != nil {
				return err
			}
			n.o.Peers = addresses(peers)
			return runNode(serve, n.o)
		},
	}
	n.add(cmd)
	f := cmd.Flags()
	f.IntVar(&n.o.Expect, "expect", 0, "start a cluster once `N` nodes with the same number have found each other; needs --peers")
	f.StringVar(&peers, "peers", "", "`HOST:PORT,…` of the cluster ports at which those nodes are found, this one's may be among them")
	return cmd
}

// listenFrom joins LiteLLM's --host and --port into the listen address. Beside
// each other --listen wins, and what stands on the command line wins over the
// environment: --port beats TOLLGATE_LISTEN, TOLLGATE_LISTEN beats PORT.
func listenFrom(cmd *cobra.Command, filled map[string]bool, o *run.Options, host string, port int) error {
	typed := func(name string) bool { return cmd.Flags().Changed(name) && !filled[name] }
	byParts := typed("host") || typed("port")
	if typed("listen") || filled["listen"] && !byParts || host == "" && port == 0 {
		return nil
	}
	if port == 0 {
		port = 4000
	}
	if port < 0 || port > 65535 {
		return fmt.Errorf("--port %d: want 1 to 65535", port)
	}
	o.Listen = net.JoinHostPort(host, strconv.Itoa(port))
	return nil
}

func logLevel(debug, detailed bool, env file.Env) string {
	switch {
	case detailed:
		return "DEBUG"
	case debug:
		return "INFO"
	}
	level, _ := env("LITELLM_LOG")
	return level
}

// parseBytes reads "500MB", "20GB", "1GiB" or plain bytes.
func parseBytes(s string) (int64, error) {
	units := []struct {
		suffix string
		size   int64
	}{{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	up := strings.ToUpper(strings.TrimSpace(s))
	for _, u := range units {
		if rest, ok := strings.CutSuffix(up, u.suffix); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if size := n * float64(u.size); err != nil || !(size >= 1 && size < 1<<62) { // also no NaN
				break
			}
			return int64(n * float64(u.size)), nil
		}
	}
	return 0, fmt.Errorf("want a size such as 20GB")
}
