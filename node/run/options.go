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
	PprofListen   string
	DrainTimeout  time.Duration
	LedgerMax     int64
	LogLevel      string
	LogJSON       bool
	Version       string
	Env           file.Env
	Out           io.Writer // what the operator reads: one line a fact
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
	if st, err := os.Stat(o.DataDir); err == nil && !st.IsDir() {
		errs = append(errs, fmt.Errorf("--data-dir %s is a file: name a directory that the node may write", o.DataDir))
	}
	return errors.Join(errs...)
}

func (o Options) path(name string) string { return filepath.Join(o.DataDir, name) }
