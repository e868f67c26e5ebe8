package run

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/ledger/flush/audit"
)

// retainAuditsEvery is the pause between two looks for audit records that are
// past their time.
const retainAuditsEvery = time.Hour

func (n *node) auditConfig() audit.Config {
	return audit.Config{
		Ledger: n.ledger, Cluster: n.cluster.Status().ClusterID, Clock: n.clock, Logger: n.log,
		Location: func() *time.Location {
			if r := n.store.State().Routing; r != nil && r.Location != nil {
				return r.Location
			}
			return time.UTC
		},
	}
}

// openAudits makes what brings this node's audit records into PostgreSQL.
func (n *node) openAudits(background context.Context, group *errgroup.Group) (*audit.Writer, error) {
	w, err := audit.NewWriter(audit.WriterConfig{
		Config: n.auditConfig(), Pool: n.db.Projection(), Ready: n.db.Ready,
		Applied: func() uint64 { return n.store.State().Index },
	})
	if err != nil {
		return nil, err
	}
	group.Go(func() error { return w.Run(background) })
	return w, nil
}

// openAuditLog makes what answers who changed what.
func (n *node) openAuditLog() (*audit.Log, error) {
	if n.db == nil {
		return audit.NewLog(n.auditConfig(), nil)
	}
	return audit.NewLog(n.auditConfig(), n.db.Queries())
}

// retainAudits drops audit records that are past their time.
func (n *node) retainAudits(ctx context.Context, retain func() error) error {
	t := time.NewTicker(retainAuditsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if err := retain(); err != nil {
			n.log.Error("old audit records not dropped", "error", err)
		}
	}
}
