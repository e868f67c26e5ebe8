package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
)

// spreadFor bounds the wait of a revoking change for the other nodes.
const spreadFor = time.Second

// Spread waits until every node that serves requests has applied index, at most
// one second, and names those that had not then. A node that seems dead is not
// waited for but named: it may be cut off and serving all the same.
func (n *Node) Spread(ctx context.Context, index uint64) (behind []string) {
	if n.cfg.Calls == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, spreadFor)
	defer cancel()
	alive := map[string]bool{}
	for _, m := range n.cfg.Gossip() {
		alive[m.NodeID] = m.State == gossip.Alive
	}
	var (
		wg sync.WaitGroup
		mu sync.Mutex // guards behind
	)
	for _, m := range n.Membership().Nodes() {
		if m.ID == n.id.NodeID || m.Role == members.RoleWitness {
			continue
		}
		wg.Go(func() {
			if alive[m.ID] && n.appliedAt(ctx, m.ID, index) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			behind = append(behind, m.Name)
		})
	}
	wg.Wait()
	slices.Sort(behind)
	return behind
}

// appliedAt waits until another node has applied index, or ctx ends.
func (n *Node) appliedAt(ctx context.Context, node string, index uint64) bool {
	_, err := n.cfg.Calls.Call(ctx, node, callApplied, binary.BigEndian.AppendUint64(nil, index))
	return err == nil
}

// serveApplied answers when this node has applied an index.
func (n *Node) serveApplied(ctx context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) != 8 {
		return nil, fmt.Errorf("%w: read the index: %w", ErrRejected, errForwardForm)
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	if err := n.WaitApplied(ctx, binary.BigEndian.Uint64(request)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBehind, err)
	}
	return binary.BigEndian.AppendUint64(nil, n.Applied()), nil
}
