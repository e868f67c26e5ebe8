package gossip

import (
	"fmt"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	sink "github.com/hashicorp/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

// InstallLibraryMetrics shows memberlist's and raft's own figures (memberlist_*,
// raft_*) in reg. The libraries keep one place for them in a process, so this is
// for the program's start and no earlier than that, once.
func InstallLibraryMetrics(reg prometheus.Registerer) error {
	s, err := sink.NewPrometheusSinkFrom(sink.PrometheusOpts{Registerer: reg, Expiration: 10 * time.Minute})
	if err != nil {
		return fmt.Errorf("register the libraries' metrics: %w", err)
	}
	cfg := gometrics.DefaultConfig("")
	cfg.EnableHostname, cfg.EnableHostnameLabel, cfg.EnableServiceLabel = false, false, false
	cfg.EnableRuntimeMetrics = false // the process has its own
	if _, err := gometrics.NewGlobal(cfg, s); err != nil {
		return fmt.Errorf("install the libraries' metrics: %w", err)
	}
	return nil
}
