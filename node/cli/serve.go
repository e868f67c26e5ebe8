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

func newServe() *cobra.Command {
	var o run.Options
	var host, maxBytes string
	var port, workers int
	var debug, detailed bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node: an empty data directory starts a cluster of one, a used one restarts",
		Example: "  tollgate serve --config config/config.yaml --data-dir /var/lib/tollgate\n" +
			"  LITELLM_MASTER_KEY=sk-… tollgate serve --config config.yaml --listen :4000",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd, serveAlso); err != nil {
				return err
			}
			if err := listenFrom(cmd, &o, host, port); err != nil {
				return err
			}
			if maxBytes != "" {
				n, err := parseBytes(maxBytes)
				if err != nil {
					return fmt.Errorf("--ledger-max-bytes %q: %w", maxBytes, err)
				}
				o.LedgerMax = n
			}
			o.LogLevel = logLevel(debug, detailed)
			o.LogJSON = strings.EqualFold(os.Getenv("JSON_LOGS"), "true")
			o.Version, o.Out = Version, cmd.ErrOrStderr()
			env, err := environment()
			if err != nil {
				return err
			}
			o.Env = env
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run.Serve(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.ConfigFile, "config", "c", "", "LiteLLM's config.yaml `FILE`")
	f.StringVar(&o.DataDir, "data-dir", "data", "`DIR` for state, ledger and keys")
	f.StringVar(&o.Listen, "listen", ":4000", "`HOST:PORT` of the API")
	f.StringVar(&o.ClusterListen, "cluster-listen", ":7946", "`HOST:PORT` for other nodes")
	f.StringVar(&o.Advertise, "advertise", "", "`HOST:PORT` under which other nodes reach this one")
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

// listenFrom joins LiteLLM's --host and --port into the listen address; an
// explicit --listen wins.
func listenFrom(cmd *cobra.Command, o *run.Options, host string, port int) error {
	if cmd.Flags().Changed("listen") || host == "" && port == 0 {
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

func logLevel(debug, detailed bool) string {
	switch {
	case detailed:
		return "DEBUG"
	case debug:
		return "INFO"
	}
	return os.Getenv("LITELLM_LOG")
}

// environment is the process's, with a .env file of the working folder under
// it unless LITELLM_MODE is PRODUCTION.
func environment() (file.Env, error) {
	if os.Getenv("LITELLM_MODE") == "PRODUCTION" {
		return os.LookupEnv, nil
	}
	return file.WithDotEnv(".env", os.LookupEnv)
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
			if err != nil || n <= 0 {
				break
			}
			return int64(n * float64(u.size)), nil
		}
	}
	return 0, fmt.Errorf("want a size such as 20GB")
}
