package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

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
	var o run.Options
	var host, maxBytes string
	var port, workers int
	var debug, detailed bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: an empty data directory starts a cluster of one, a used one restarts",
		Example: "  tollgate serve --config config/config.yaml --data-dir /var/lib/tollgate\n" +
			"  LITELLM_MASTER_KEY=sk-1234 tollgate serve --config config.yaml --listen :4000",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := environment()
			if err != nil {
				return err
			}
			filled, err := fromEnv(cmd, env, serveAlso)
			if err != nil {
				return err
			}
			if err := listenFrom(cmd, filled, &o, host, port); err != nil {
				return err
			}
			if maxBytes != "" {
				n, err := parseBytes(maxBytes)
				if err != nil {
					return fmt.Errorf("--ledger-max-bytes %q: %w", maxBytes, err)
				}
				o.LedgerMax = n
			}
			o.LogLevel = logLevel(debug, detailed, env)
			jsonLogs, _ := env("JSON_LOGS")
			o.LogJSON = strings.EqualFold(jsonLogs, "true")
			o.Version, o.Out, o.Env = Version, cmd.ErrOrStderr(), env
			// A closed terminal stops a node in order, as SIGTERM does.
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			// A second signal ends a drain that the operator no longer waits for:
			// the next start charges what was open.
			context.AfterFunc(ctx, stop)
			return mend(serve(ctx, o))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.ConfigFile, "config", "c", "", "LiteLLM's config.yaml `FILE`")
	f.StringVar(&o.DataDir, "data-dir", "data", "`DIR` for state, ledger and keys")
	f.StringVar(&o.Listen, "listen", ":4000", "`HOST:PORT` of the API")
	f.StringVar(&o.ClusterListen, "cluster-listen", ":7946", "`HOST:PORT` for other nodes; nothing listens there in this release")
	f.StringVar(&o.Advertise, "advertise", "", "`HOST:PORT` under which other nodes reach this one; unused in this release")
	f.StringVar(&o.Name, "name", "", "`NAME` of this node (default: the host's)")
	f.StringVar(&o.Region, "region", "", "`REGION` of this node")
	f.StringVar(&o.Zone, "zone", "", "`ZONE` of this node")
	f.DurationVar(&o.DrainTimeout, "drain-timeout", 0, "how long calls in flight may finish at a stop (default 2m0s)")
	f.StringVar(&maxBytes, "ledger-max-bytes", "", "disk `BYTES` that the ledger may take, such as 20GB (default: half of what is free)")
	f.StringVar(&o.PprofListen, "pprof-listen", "", "`HOST:PORT` of Go's profiler; off when empty")
	f.StringVar(&host, "host", "", "LiteLLM's name for the address of --listen")
	f.IntVar(&port, "port", 0, "LiteLLM's name for the port of --listen")
	f.IntVar(&workers, "num_workers", 0, "accepted and ignored: one process uses all cores")
	f.BoolVar(&debug, "debug", false, "log more")
	f.BoolVar(&detailed, "detailed_debug", false, "log everything")
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
