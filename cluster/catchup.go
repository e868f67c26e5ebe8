package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/cluster/gossip"
)

const (
	// askEvery is the least time between two asks of one node: a flood of refused
	// calls asks the leader no more often.
	askEvery = 20 * time.Millisecond

	// askAbout bounds the keys that one ask names.
	askAbout = 4096

	// nearPatience bounds the wait for an index inside one region.
	nearPatience = 250 * time.Millisecond

	// farRTT stands for a round trip that has not been measured yet.
	farRTT = 250 * time.Millisecond

	// farSlack is what a change takes beyond round trips: a follower learns of a
	// commit with the leader's next message, and machines pause.
	farSlack = 400 * time.Millisecond

	// settled is the age at which a change is known to all who look at the state:
	// whoever evaluates a call has taken its snapshot later.
	settled = 5 * time.Second
)

// CatchUp makes sure that a refusal does not come from a state that is behind.
// It asks the leader for the newest change that concerns a key and waits until
// this node has it. moved tells the caller to look again at a state taken
// afresh; when it is false, also because the leader does not know the key
// either, the refusal stands. ErrBehind: it could not be found out in time.
//
// One ask serves all who came before it was sent, so an answer is never older
// than the question, and at most one starts every 20 ms.
func (n *Node) CatchUp(ctx context.Context, keyHash string) (moved bool, err error) {
	if n.cfg.Calls == nil {
		return false, nil // nobody else could have changed anything
	}
	floor := n.asks.floor(n.Applied())
	patience := n.patience()
	asking, cancel := context.WithTimeout(ctx, 2*patience) // the leader asks a majority itself
	defer cancel()
	for {
		index, err := n.concern(asking, keyHash)
		if err == nil {
			return n.await(ctx, index, floor, patience)
		}
		if asking.Err() != nil || n.isClosed() || errors.Is(err, errTooMany) {
			return false, fmt.Errorf("%w: ask the leader: %w", ErrBehind, err)
		}
		pause(asking, askEvery)
	}
}

func (n *Node) await(ctx context.Context, index, floor uint64, patience time.Duration) (bool, error) {
	if n.Applied() < index {
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := n.WaitApplied(waiting, index); err != nil {
			return false, fmt.Errorf("%w: %w", ErrBehind, err)
		}
	}
	return index > floor, nil
}

// concern is the index of the newest change that concerns a key.
func (n *Node) concern(ctx context.Context, keyHash string) (uint64, error) {
	if n.leads() {
		indexes, err := n.concernHere(ctx, []string{keyHash})
		if err != nil {
			return 0, err
		}
		return indexes[0], nil
	}
	return n.asks.join(ctx, n, keyHash)
}

// patience is how long a change may take from the leader to here.
func (n *Node) patience() time.Duration {
	leader := n.leaderID()
	for _, m := range n.cfg.Gossip() {
		if m.NodeID != leader {
			continue
		}
		if m.Region == n.cfg.Region {
			return nearPatience
		}
		return n.farPatience(&m)
	}
	if n.Profile() == LAN {
		return nearPatience
	}
	return n.farPatience(&gossip.Member{})
}

func (n *Node) farPatience(m *gossip.Member) time.Duration {
	rtt := m.RTT
	if rtt == 0 {
		rtt = farRTT
	}
	return max(nearPatience, 2*rtt+farSlack)
}

// concernHere answers on the leader. The indexes are read before leadership is
// proven: what was acknowledged before the question is in this state then.
func (n *Node) concernHere(ctx context.Context, hashes []string) ([]uint64, error) {
	if !n.leads() {
		return nil, n.notLeader()
	}
	indexes := make([]uint64, len(hashes))
	for i, h := range hashes {
		if n.cfg.ConcernIndex == nil {
			indexes[i] = n.Applied()
		} else {
			indexes[i] = n.cfg.ConcernIndex(h)
		}
	}
	return indexes, n.verifyLeader(ctx)
}

func (n *Node) serveConcern(ctx context.Context, _ string, request []byte) ([]byte, error) {
	var hashes []string
	if err := json.Unmarshal(request, &hashes); err != nil {
		return nil, fmt.Errorf("%w: read which keys are asked about: %w", ErrRejected, err)
	}
	if len(hashes) > askAbout {
		return nil, fmt.Errorf("%w: %d keys are asked about, the most is %d", ErrRejected, len(hashes), askAbout)
	}
	indexes, err := n.concernHere(ctx, hashes)
	if err != nil {
		return nil, err
	}
	return json.Marshal(indexes)
}

var errTooMany = errors.New("too many keys are asked about at once")

// asker gathers the questions that callers have into few asks.
type asker struct {
	mu   sync.Mutex // guards the fields below
	next *ask       // not sent yet
	last time.Time  // an ask was sent

	// Two marks of what was applied when; the older one is older than settled, or
	// the beginning.
	older, newer mark
}

type ask struct {
	hashes  []string
	at      map[string]int // in hashes
	indexes []uint64
	err     error
	done    chan struct{}
}

type mark struct {
	index uint64
	at    time.Time
}

// floor is an index that was applied long enough ago for every caller to have
// seen it.
func (a *asker) floor(applied uint64) uint64 {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.newer.at) > settled {
		a.older, a.newer = a.newer, mark{applied, now}
	}
	return a.older.index
}

// join adds a question to the next ask and waits for its answer.
func (a *asker) join(ctx context.Context, n *Node, hash string) (uint64, error) {
	a.mu.Lock()
	q := a.next
	if q == nil {
		if !n.begin() {
			a.mu.Unlock()
			return 0, ErrClosed
		}
		q = &ask{at: map[string]int{}, done: make(chan struct{})}
		a.next = q
		time.AfterFunc(time.Until(a.last.Add(askEvery)), func() {
			defer n.work.Done()
			a.send(n)
		})
	}
	i, known := q.at[hash]
	if !known {
		if len(q.hashes) >= askAbout {
			a.mu.Unlock()
			return 0, errTooMany
		}
		i = len(q.hashes)
		q.at[hash], q.hashes = i, append(q.hashes, hash)
	}
	a.mu.Unlock()
	select {
	case <-q.done:
		if q.err != nil {
			return 0, q.err
		}
		return q.indexes[i], nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// send asks the leader what has been gathered. Later questions are for the next
// ask, which may be on its way before this one is answered.
func (a *asker) send(n *Node) {
	a.mu.Lock()
	q := a.next
	a.next, a.last = nil, time.Now()
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(n.life, 2*n.patience())
	defer cancel()
	q.indexes, q.err = n.askConcern(ctx, q.hashes)
	n.counts.asked(q.err)
	close(q.done)
}

func (n *Node) askConcern(ctx context.Context, hashes []string) ([]uint64, error) {
	indexes, err := n.concernHere(ctx, hashes) // it may lead by now
	var other *NotLeaderError
	if !errors.As(err, &other) {
		return indexes, err
	}
	request, err := json.Marshal(hashes)
	if err != nil {
		return nil, fmt.Errorf("write which keys are asked about: %w", err)
	}
	reply, err := n.cfg.Calls.Call(ctx, other.LeaderID, callConcern, request)
	if err != nil {
		return nil, question(ctx, fromWire(other.LeaderID, err))
	}
	if err := json.Unmarshal(reply, &indexes); err != nil || len(indexes) != len(hashes) {
		return nil, fmt.Errorf("%w: read the leader's indexes: %w", ErrBehind, errForwardForm)
	}
	return indexes, nil
}
