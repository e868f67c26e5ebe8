package run

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster/command"
	"tollgate/config/model"
	"tollgate/ledger/store"
	"tollgate/limiter/budget"
)

// openBooks opens the ledger, tells the bank what earlier starts have spent and
// makes the limiter.
func (n *node) openBooks(ctx, background context.Context, group *errgroup.Group) error {
	settings := &n.store.State().Routing.Config.Tollgate
	var err error
	n.ledger, err = store.Open(store.Config{
		Dir: n.o.path("ledger"), Incarnation: n.identity.Incarnation, Sync: store.Mode(settings.LedgerSync),
		Clock: n.clock, Logger: n.log, MaxBytes: n.o.LedgerMax, KeepFor: n.keepEntries(), KeepRollups: span(settings.LedgerKeepRollups),
		Fatal: func(err error) {
			n.log.Error("the ledger cannot go on", "error", err)
			os.Exit(3) // the next start charges what was open
		},
	})
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	if left := n.ledger.Interrupted(); len(left) > 0 {
		n.log.Warn("calls of an earlier start were interrupted and charged at their maximum", "calls", len(left))
	}
	if err := n.audits.open(n.ledger); err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	group.Go(func() error { return n.ledger.Run(background) })
	n.rates = n.newLimits()
	group.Go(func() error { return n.rates.Run(background) })
	n.account, err = budget.NewAccount(budget.Config{
		Node: budget.NodeID(n.identity.NodeID), Incarnation: n.identity.Incarnation, Propose: n.proposeBudget,
		Look: func(sc model.Scope) (budget.View, bool) {
			return n.bank.Look(sc, budget.NodeID(n.identity.NodeID), n.identity.Incarnation)
		},
		Clock: n.clock, Log: n.log, WaitMax: time.Duration(settings.BudgetWaitMax * float64(time.Second)),
	})
	if err != nil {
		return err
	}
	n.bank.Watch(n.account.Observe)
	if err := n.closeEarlierBooks(ctx); err != nil {
		return err
	}
	group.Go(func() error { return n.account.Run(background) })
	return nil
}

// keepEntries is how long entries stay once every reader has them: shorter with
// PostgreSQL, which then has them for longer.
func (n *node) keepEntries() time.Duration {
	if keep := span(n.store.State().Routing.Config.Tollgate.LedgerKeep); keep > 0 {
		return keep
	}
	if addr, _ := n.database(); addr != "" {
		return 7 * 24 * time.Hour
	}
	return 0 // the ledger's own default
}

// closeEarlierBooks gives the bank the final sums of this node's earlier
// starts. If the machine has lost power meanwhile, settlements of the last
// moments may be missing, so all credit held then counts as spent.
func (n *node) closeEarlierBooks(ctx context.Context) error {
	rec := budget.Recovery{WriteOff: n.identity.Rebooted || n.ledger.MachineRestarted()}
	incarnations, err := n.ledger.Incarnations()
	if err != nil {
		return fmt.Errorf("read earlier starts: %w", err)
	}
	var settled []budget.Settled
	for _, inc := range incarnations {
		if inc == n.identity.Incarnation {
			continue
		}
		sums, err := n.ledger.Settled(inc)
		if err != nil {
			return fmt.Errorf("read what start %d has settled: %w", inc, err)
		}
		for _, s := range sums {
			settled = append(settled, budget.Settled{Incarnation: inc, Scope: s.Scope, Window: s.Window, S: s.Sum})
		}
	}
	rec.Settled = func(yield func(budget.Settled) bool) {
		for _, s := range settled {
			if !yield(s) {
				return
			}
		}
	}
	if err := n.account.Start(ctx, rec); err != nil {
		return err
	}
	for _, inc := range incarnations { // the bank has them now
		if inc == n.identity.Incarnation {
			continue
		}
		if err := n.ledger.DropSettled(inc); err != nil {
			return fmt.Errorf("forget the sums of start %d: %w", inc, err)
		}
	}
	if rec.WriteOff {
		n.log.Warn("the machine restarted without a clean stop: credit held then counts as spent")
	}
	return nil
}

func (n *node) proposeBudget(ctx context.Context, payload []byte) (*budget.Answer, error) {
	answer, _, err := n.cluster.Submit(ctx, command.BudgetBatch, budget.Version, payload)
	if err != nil {
		return nil, err
	}
	a, ok := answer.(*budget.Answer)
	if !ok {
		return nil, errNoAnswer
	}
	return a, a.Err
}
