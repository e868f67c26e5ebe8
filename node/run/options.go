// Package run is the composition root: it builds every room of a node, joins
// them, starts them in order and stops them in reverse. Nothing else knows
// everything.
package run

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tollgate/config/file"
)

// Options are the node's own settings: flags and environment. What the cluster
// shares stands in config.yaml.
type Options struct {
	ConfigFile    string
	DataDir       string
	Listen        string
	ClusterListen string
	Advertise     string
	Name          string
	Region        string
	Zone          string
	// Join are addresses of a cluster to become a member of, with Token as the
	// invitation. A directory that has a node restarts it and asks nobody.
	Join  []string
	Token string
	// Expect is how many nodes start a cluster together, each knowing the others
	// by Peers. ClusterSecret is what they prove themselves by.
	Expect        int
	Peers         []string
	ClusterSecret string
	// DatabaseRegion is where the PostgreSQL of this node stands, for residency.
	DatabaseRegion string
	// CallbackDirs are where callbacks may write files beside the data directory.
	CallbackDirs []string
	PprofListen  string
	DrainTimeout time.Duration
	// DrainNotice is how long a stopping node says that it is not ready and still
	// takes calls, so that load balancers have seen it before connections are refused.
	DrainNotice time.Duration
	LedgerMax   int64
	LogLevel    string
	LogJSON     bool
	Version     string
	// Reload asks to read the config file again: on SIGHUP.
	Reload <-chan os.Signal
	Env    file.Env
	Out    io.Writer // what the operator reads: one line a fact
}

// WithDefaults fills what no flag and no variable set.
func (o Options) WithDefaults() Options {
	set := func(at *string, value string) {
		if *at == "" {
			*at = value
		}
	}
	set(&o.DataDir, "data")
	set(&o.Listen, ":4000")
	set(&o.ClusterListen, ":7946")
	set(&o.Region, "default")
	set(&o.DatabaseRegion, o.Region)
	if o.Name == "" {
		o.Name, _ = os.Hostname()
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 120 * time.Second
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Out == nil {
		o.Out = os.Stderr
	}
	return o
}

// Validate lists everything that is wrong at once.
func (o Options) Validate() error {
	var errs []error
	for name, addr := range map[string]string{"--listen": o.Listen, "--cluster-listen": o.ClusterListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: want HOST:PORT or :PORT", name, addr))
		}
	}
	if o.DrainTimeout < 0 {
		errs = append(errs, errors.New("--drain-timeout must not be negative"))
	}
	if o.DrainNotice < 0 {
		errs = append(errs, errors.New("--drain-notice must not be negative"))
	}
	errs = append(errs, o.validateCluster()...)
	if st, err := os.Stat(o.DataDir); err == nil && !st.IsDir() {
		errs = append(errs, fmt.Errorf("--data-dir %s is a file: name a directory that the node may write", o.DataDir))
	}
	return errors.Join(errs...)
}

// validateCluster checks how the node finds its cluster.
func (o Options) validateCluster() []error {
	var errs []error
	need := func(ok bool, sentence string) {
		if !ok {
			errs = append(errs, errors.New(sentence))
		}
	}
	for _, addr := range o.Join {
		need(isAddress(addr), fmt.Sprintf("cannot join %q: want HOST:PORT of a node's cluster port, such as 10.0.0.1:7946", addr))
	}
	for _, addr := range o.Peers {
		need(isAddress(addr), fmt.Sprintf("--peers %q: want HOST:PORT of a node's cluster port, such as 10.0.0.1:7946", addr))
	}
	need(o.Advertise == "" || isAddress(o.Advertise), fmt.Sprintf("--advertise %q: want the HOST:PORT under which other nodes reach this one", o.Advertise))
	joins, expects := len(o.Join) > 0, o.Expect != 0
	need(o.Expect >= 0, "--expect must not be negative")
	need(!expects || len(o.Peers) > 0, "--expect needs --peers: the addresses at which the nodes find each other")
	need(expects || len(o.Peers) == 0, "--peers needs --expect: how many nodes start the cluster together")
	need(!joins || !expects, "a node either joins a cluster or starts one with --expect: leave one of them out")
	need(joins || o.Token == "", "a join token is only for joining: use `tollgate join HOST:PORT --token …`")
	need(!joins || o.Token != "" || o.ClusterSecret != "" || o.used(),
		"no join token: make one with `tollgate token create` on a node of the cluster and give it with --token, --token-file or TOLLGATE_TOKEN")
	return errs
}

// used reports whether the data directory has a node already: it restarts, and
// how it once found its cluster does not matter.
func (o Options) used() bool {
	_, err := os.Stat(o.path("node.json"))
	return err == nil
}

// isAddress reports whether another machine could be reached there.
func isAddress(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.Atoi(port)
	ip := net.ParseIP(host)
	return err == nil && n > 0 && n < 65536 && (ip == nil || !ip.IsUnspecified())
}

func (o Options) path(name string) string { return filepath.Join(o.DataDir, name) }
