package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tollgate/node/run"
)

// nodeFlags are the flags of the commands that run a node.
type nodeFlags struct {
	o               run.Options
	host, maxBytes  string
	port, workers   int
	debug, detailed bool
}

func (n *nodeFlags) add(cmd *cobra.Command) {
	o, f := &n.o, cmd.Flags()
	f.StringVarP(&o.ConfigFile, "config", "c", "", "LiteLLM's config.yaml `FILE`")
	f.StringVar(&o.DataDir, "data-dir", "data", "`DIR` for state, ledger and keys")
	f.StringVar(&o.Listen, "listen", ":4000", "`HOST:PORT` of the API")
	f.StringVar(&o.ClusterListen, "cluster-listen", ":7946", "`HOST:PORT` for other nodes, TCP and UDP")
	f.StringVar(&o.Advertise, "advertise", "", "`HOST:PORT` under which other nodes reach this one (default: this machine's address and the port of --cluster-listen)")
	f.StringVar(&o.ClusterSecret, "cluster-secret", "", "`TEXT` by which nodes started with --expect know each other; better in the environment (default: derived from LITELLM_MASTER_KEY)")
	f.StringVar(&o.Name, "name", "", "`NAME` of this node (default: the host's)")
	f.StringVar(&o.Region, "region", "", "`REGION` of this node")
	f.StringVar(&o.Zone, "zone", "", "`ZONE` of this node")
	f.StringVar(&o.DatabaseRegion, "database-region", "", "`REGION` in which the PostgreSQL of this node stands (default: the node's)")
	f.StringSliceVar(&o.CallbackDirs, "callback-dir", nil, "`DIR` in which callbacks of the configuration may write files; others stay in the data directory")
	f.DurationVar(&o.DrainTimeout, "drain-timeout", 0, "how long calls in flight may finish at a stop (default 2m0s)")
	f.DurationVar(&o.DrainNotice, "drain-notice", 0, "how long a stopping node says it is not ready and still takes calls, so that load balancers see it first")
	f.StringVar(&n.maxBytes, "ledger-max-bytes", "", "disk `BYTES` that the ledger may take, such as 20GB (default: half of what is free)")
	f.StringVar(&o.PprofListen, "pprof-listen", "", "`HOST:PORT` of Go's profiler; off when empty")
	f.StringVar(&n.host, "host", "", "LiteLLM's name for the address of --listen")
	f.IntVar(&n.port, "port", 0, "LiteLLM's name for the port of --listen")
	f.IntVar(&n.workers, "num_workers", 0, "accepted and ignored: one process uses all cores")
	f.BoolVar(&n.debug, "debug", false, "log more")
	f.BoolVar(&n.detailed, "detailed_debug", false, "log everything")
}

// read completes the options from the environment and from what stands in flags
// of another form. It returns the flags that the environment filled.
func (n *nodeFlags) read(cmd *cobra.Command) (filled map[string]bool, err error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	if filled, err = fromEnv(cmd, env, serveAlso); err != nil {
		return nil, err
	}
	if err := listenFrom(cmd, filled, &n.o, n.host, n.port); err != nil {
		return nil, err
	}
	if n.maxBytes != "" {
		if n.o.LedgerMax, err = parseBytes(n.maxBytes); err != nil {
			return nil, fmt.Errorf("--ledger-max-bytes %q: %w", n.maxBytes, err)
		}
	}
	n.o.LogLevel = logLevel(n.debug, n.detailed, env)
	jsonLogs, _ := env("JSON_LOGS")
	n.o.LogJSON = strings.EqualFold(jsonLogs, "true")
	n.o.Version, n.o.Out, n.o.Env = Version, cmd.ErrOrStderr(), env
	return filled, nil
}

// runNode runs a node until a signal. SIGHUP reads the config file again, but
// where the node runs in a terminal: closing that stops it in order, as SIGTERM
// does. A second signal ends a drain that the operator no longer waits for: the
// next start charges what was open.
func runNode(serve serveFunc, o run.Options) error {
	end := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if isTerminal(os.Stdin) {
		end = append(end, syscall.SIGHUP)
	} else {
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		o.Reload = reload
	}
	ctx, stop := signal.NotifyContext(context.Background(), end...)
	defer stop()
	context.AfterFunc(ctx, stop)
	return mend(serve(ctx, o))
}

// addresses splits a list of HOST:PORT.
func addresses(lists ...string) []string {
	var out []string
	for _, list := range lists {
		for addr := range strings.SplitSeq(list, ",") {
			if addr = strings.TrimSpace(addr); addr != "" {
				out = append(out, addr)
			}
		}
	}
	return out
}
