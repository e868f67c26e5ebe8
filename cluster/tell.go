package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// tellAfter is how long the leader waits for the next command, whose message
// would tell the followers too.
const tellAfter = time.Millisecond

// teller notes on the leader up to where commands were committed.
type teller struct {
	last  atomic.Uint64
	rings chan struct{} // holds one: there is something to tell
}

// committed notes a command; it never waits.
func (t *teller) committed(index uint64) {
	for {
		old := t.last.Load()
		if index <= old || t.last.CompareAndSwap(old, index) {
			break
		}
	}
	select {
	case t.rings <- struct{}{}:
	default:
	}
}

// tellCommits lets the followers see what was committed while this node leads.
// Raft tells them with the next message only, and writes through a follower wait
// for it: an empty entry is such a message. Of a run of commands only the last
// needs one, as the others were told by those after them.
func (n *Node) tellCommits(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.told.rings:
		}
		pause(ctx, tellAfter)
		if ctx.Err() != nil || n.raft.LastIndex() > n.told.last.Load() || n.alone() {
			continue
		}
		// Whether it is committed is nobody's concern: without it the followers
		// hear a commit timeout later.
		n.raft.Barrier(enqueueWithin)
	}
}

// alone reports whether raft has no other node to tell.
func (n *Node) alone() bool {
	f := n.raft.GetConfiguration()
	return f.Error() == nil && len(f.Configuration().Servers) < 2
}
