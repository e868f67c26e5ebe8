package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tollgate/config/secret"
)

// leadRetry is the pause between attempts at what a leader has to do first.
const leadRetry = 100 * time.Millisecond

// startLeading begins to lead beside Run's loop; the function it returns ends
// that and waits for it.
func (n *Node) startLeading(ctx context.Context) (stop func()) {
	leading, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.tellCommits(leading) })
	wg.Go(func() {
		if n.takeOver(leading) {
			n.found(leading)
			n.plan(leading)
		}
	})
	return func() {
		cancel()
		wg.Wait()
		n.setLeader(0)
	}
}

// takeOver makes a fresh leader answer for the past before it answers
// questions: its state must hold everything that earlier leaders acknowledged.
// It reports whether this node leads then.
func (n *Node) takeOver(ctx context.Context) bool {
	for ctx.Err() == nil && n.raft.State() == raft.Leader {
		term := n.raft.CurrentTerm()
		err := n.Barrier(ctx)
		if err == nil {
			err = n.ensureDataKey(ctx)
		}
		if err == nil && n.raft.CurrentTerm() == term {
			n.setLeader(term)
			n.log.Info("leading", "node", n.id.NodeID, "term", term)
			n.checkReady()
			return true
		}
		if errors.Is(err, secret.ErrWrongKEK) {
			// A leader that cannot open the secrets could call no provider, and
			// waiting does not mend it.
			n.fsm.Stop(err)
			return false
		}
		if ctx.Err() == nil && err != nil {
			n.log.Warn("leadership not complete yet", "error", err)
		}
		pause(ctx, leadRetry)
	}
	return false
}

// found lets the first leader found the cluster's certificate authority. A data
// directory of a release without one gets it here too.
func (n *Node) found(ctx context.Context) {
	if n.cfg.Found == nil {
		return
	}
	for ctx.Err() == nil && n.leads() && n.Membership().CA == nil {
		if err := n.cfg.Found(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("cluster not founded yet", "error", err)
			pause(ctx, 10*leadRetry)
			continue
		}
		pause(ctx, time.Millisecond) // until it shows, if it does not yet
	}
}

func (n *Node) setLeader(term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaderFor, n.leadsFrom = term, n.clock.Now()
}

func (n *Node) leaderSince() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leadsFrom
}

// leads reports whether this node leads and its state holds all that was ever
// acknowledged. One that hands leadership over does not answer any more: the heir
// may be elected against the very heartbeats that prove this node's leadership.
func (n *Node) leads() bool {
	n.mu.Lock()
	term := n.leaderFor
	if n.handing > 0 {
		term = 0
	}
	n.mu.Unlock()
	return term != 0 && n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// checkReady notices when the node can serve: a leader is known, this node if
// it is the leader has finished taking over, and secrets can be opened.
func (n *Node) checkReady() {
	leader := n.leaderID()
	if leader == "" || n.cfg.Box != nil && (!n.cfg.Box.Ready() || n.keys.failure() != nil) {
		return
	}
	if leader == n.id.NodeID && !n.leads() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ready {
		n.ready = true
		close(n.readyCh)
	}
}

// leaderID is the leader as this node knows it, "" for none.
func (n *Node) leaderID() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
