package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/cluster"
	"tollgate/config/model"
)

// awaitCluster waits until the node is a member that knows what it must know.
func (n *node) awaitCluster(ctx context.Context) error {
	p := n.place
	told := time.AfterFunc(10*time.Second, func() {
		n.log.Info("waiting for a leader: a majority of the voters must be there", "voters", n.cluster.Status().Voters)
	})
	defer told.Stop()
	if err := n.cluster.WaitReady(ctx); err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	select {
	case <-p.identified:
	default:
		if err := p.found(ctx); err != nil {
			return err
		}
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.cluster.WaitApplied(ctx, p.least); err != nil {
		return fmt.Errorf("catch up with the cluster: %w", err)
	}
	return n.holdsKEK()
}

// errFormerKEK ends a start with a key that was changed since.
var errFormerKEK = errors.New("the cluster's secrets are sealed under another key since `tollgate secrets finish`: " +
	"start with the LITELLM_SALT_KEY or TOLLGATE_KEK that the other nodes have now")

// holdsKEK refuses a start without the key that the cluster's secrets are sealed
// under now. A node whose own log begins before the change has read in there what
// the former key opened, and could serve until its next snapshot: it would find out
// at some later start, when nobody thinks of the change any more.
func (n *node) holdsKEK() error {
	current, former := n.cluster.KEKs()
	if current == "" || former != "" || n.box.KEK().Export(current) != "" {
		return nil
	}
	return errFormerKEK
}

// register tells the cluster of this start. Leaders come and go while a whole
// cluster starts: only what is final ends the attempts.
func (n *node) register(ctx context.Context) error {
	return n.insist(ctx, "register this start", func() error {
		_, err := n.cluster.Register(ctx, n.place.self())
		return err
	})
}

// insistEvery is the pause between attempts at what a starting node needs.
const insistEvery = 500 * time.Millisecond

// insist repeats what a starting node needs of the cluster while only a leader
// is missing.
func (n *node) insist(ctx context.Context, what string, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if !passing(err) || ctx.Err() != nil {
			return err
		}
		if !told {
			n.log.Warn("the start waits for the cluster", "to", what, "error", err)
		}
		select {
		case <-time.After(insistEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// passing reports whether the same may succeed in a moment.
func passing(err error) bool {
	for _, passes := range []error{cluster.ErrNoQuorum, cluster.ErrNotLeader, cluster.ErrBusy, cluster.ErrOutcomeUnknown, cluster.ErrPeerFailed} {
		if errors.Is(err, passes) {
			return true
		}
	}
	var other *model.Refused // somebody else's change came first
	return errors.As(err, &other) && other.Have > 0
}

// lonely says why this node does not reach the others, nil when it does.
func (p *place) lonely() error {
	if p.opened.Load().cluster.Membership().Len() <= 1 {
		return nil
	}
	if p.company.Load() || len(p.otherIDs()) > 0 {
		p.company.Store(true) // a node that is cut off later goes on serving
		return nil
	}
	return errors.New("no other node has been met yet")
}

// bearWitness is all that a witness does: it votes.
func (n *node) bearWitness(ctx context.Context) error {
	n.audits.without()
	n.starting.end()
	n.closeListener()
	n.announceWitness()
	<-ctx.Done()
	return nil
}
