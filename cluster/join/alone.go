package join

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
)

// Methods that every node answers to members.
const (
	MethodRenew   = "join.renew"
	MethodWhoami  = "join.whoami"
	MethodWhereis = "join.whereis"
)

// Whoami is what a process says of itself. Two processes on one copied disk say
// the same id and different sums.
type Whoami struct {
	ID          string    `json:"id"`
	Incarnation uint64    `json:"incarnation"`
	NonceSum    string    `json:"nonce_sum"` // SumNonce of the start's nonce
	Addr        string    `json:"addr"`
	StartedAt   time.Time `json:"started_at"`
}

// SumNonce tells starts apart without telling the nonce.
func SumNonce(nonce string) string {
	sum := sha256.Sum256([]byte("tollgate start\x00" + nonce))
	return hex.EncodeToString(sum[:8])
}

// CopyError proves that another process runs with this node's id.
type CopyError struct{ Other Whoami }

// Error says where, and what to do.
func (e *CopyError) Error() string {
	return fmt.Sprintf("node %s already runs at %s: this data directory is a copy of its disk; empty it and join as a new node",
		e.Other.ID, e.Other.Addr)
}

// Alone is what a node needs to find out whether its id lives elsewhere.
type Alone struct {
	Self  Whoami
	Peers Peers // as last known, Store.Peers
	Dial  Dialler
	Call  peer.Caller
	// Identity verifies who answers at an address; nil: that is not asked.
	Identity *Identity
	// Within bounds the whole search; nodes that are silent count as ignorant.
	Within time.Duration
}

// CheckAlone looks for another process with this node's id: at the address
// where it was last registered, and through the other members, who see places
// that this node may not reach. It is asked before raft opens: two processes
// that vote with one id could elect two leaders. A *CopyError says who is there.
func CheckAlone(ctx context.Context, a Alone) error {
	within := a.Within
	if within <= 0 {
		within = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var wg sync.WaitGroup
	found := make(chan Whoami, len(a.Peers.Members))
	for _, p := range a.Peers.Members {
		wg.Go(func() {
			other, err := a.ask(ctx, p)
			// Silence proves nothing, and neither does a node that knows nothing.
			if err == nil && other.ID == a.Self.ID && other.NonceSum != a.Self.NonceSum {
				found <- other
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case other := <-found:
		return &CopyError{other}
	default:
		return nil
	}
}

func (a *Alone) ask(ctx context.Context, p Peer) (Whoami, error) {
	if p.ID == a.Self.ID {
		if p.Addr == a.Self.Addr || p.Addr == "" {
			return Whoami{}, errors.New("that is this node's own address")
		}
		return Who(ctx, a.Dial, a.Identity, p.Addr)
	}
	request, err := json.Marshal(a.Self)
	if err != nil {
		return Whoami{}, err
	}
	text, err := a.Call.Call(ctx, p.ID, MethodWhereis, request)
	if err != nil {
		return Whoami{}, err
	}
	var other Whoami
	return other, json.Unmarshal(text, &other)
}

// Superseded tells a running node that a later start of its id is registered:
// what this process holds counts no longer and it must stop. It is nil for the
// start that is registered, and before this start is.
func Superseded(state *members.State, id, nonce string, incarnation uint64) error {
	n, ok := state.Node(id)
	if !ok || n.Nonce == nonce || n.Incarnation < incarnation {
		return nil
	}
	return &CopyError{Whoami{ID: id, Incarnation: n.Incarnation, NonceSum: SumNonce(n.Nonce), Addr: n.Addr, StartedAt: n.StartedAt}}
}

// Conflict settles what to do when a running node hears of another with its
// id. The start that the cluster has registered goes on, since what it holds is
// accounted for; if neither is, the one that started first.
func Conflict(state *members.State, mine, other Whoami) error {
	if mine.NonceSum == other.NonceSum {
		return nil
	}
	if n, ok := state.Node(mine.ID); ok && n.Nonce != "" {
		switch SumNonce(n.Nonce) {
		case mine.NonceSum:
			return nil
		case other.NonceSum:
			return &CopyError{other}
		}
	}
	if mine.StartedAt.Before(other.StartedAt) || mine.StartedAt.Equal(other.StartedAt) && mine.NonceSum < other.NonceSum {
		return nil
	}
	return &CopyError{other}
}

// Handle answers members: who this process is, who it reaches under an id, and
// certificates for those that have one already.
func (s *Server) Handle(r peer.Registrar) {
	r.Handle(MethodWhoami, func(context.Context, string, []byte) ([]byte, error) {
		return json.Marshal(s.whoami())
	})
	r.Handle(MethodWhereis, s.whereis)
	r.Handle(MethodRenew, s.renew)
}

func (s *Server) whoami() Whoami {
	if s.Self == nil {
		return Whoami{}
	}
	return s.Self()
}

// whereisWithin bounds the look at another node. Its asker waits with its start.
const whereisWithin = 2 * time.Second

// whereis asks, on behalf of a node that starts, whoever this node reaches
// under the same id. Gossip's word alone would not do: for some seconds a node
// that has stopped seems to be there.
func (s *Server) whereis(ctx context.Context, from string, request []byte) ([]byte, error) {
	var asker Whoami
	if err := json.Unmarshal(request, &asker); err != nil || asker.ID != from {
		return nil, &peer.Error{Code: string(CodeBadRequest), Message: "a node may ask for itself only"}
	}
	ctx, cancel := context.WithTimeout(ctx, whereisWithin)
	defer cancel()
	text, err := s.Caller.Call(ctx, from, MethodWhoami, nil)
	if err != nil {
		return json.Marshal(Whoami{}) // nobody there
	}
	return text, nil
}
