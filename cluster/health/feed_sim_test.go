package health_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/gossip"
	"tollgate/cluster/health"
	"tollgate/config/unit"
)

// hub is a gossip without losses: 40 ms to everybody.
type hub struct {
	mu    sync.Mutex
	nodes map[string]*hubNode
}

type hubNode struct {
	hub      *hub
	member   gossip.Member
	seq      uint64
	handlers map[gossip.Kind]func(string, uint32, uint64, []byte)
	sent     map[string]int // upstream messages by receiver
	local    func() []byte
	merge    func(string, []byte)
}

func (n *hubNode) Receive(kind gossip.Kind, handle func(string, uint32, uint64, []byte)) {
	n.handlers[kind] = handle
}

func (n *hubNode) Exchange(_ gossip.Kind, local func() []byte, merge func(string, []byte)) {
	n.local, n.merge = local, merge
}

func (n *hubNode) Send(kind gossip.Kind, to string, body []byte) error {
	n.hub.mu.Lock()
	n.seq++
	seq, peer := n.seq, n.hub.nodes[to]
	if kind == gossip.KindUpstream {
		n.sent[to]++
	}
	n.hub.mu.Unlock()
	time.AfterFunc(40*time.Millisecond, func() { peer.handlers[kind](n.member.NodeID, 1, seq, body) })
	return nil
}

func (n *hubNode) Relay(kind gossip.Kind, body []byte) error {
	for id := range n.hub.nodes {
		if id != n.member.NodeID {
			if err := n.Send(kind, id, body); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *hubNode) Members() (out []gossip.Member) {
	for _, m := range n.hub.nodes {
		out = append(out, m.member)
	}
	return out
}

var _ health.Gossip = (*hubNode)(nil)

func TestFeedTellsTheRegionEachSecondAndOneNodeBeyond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{nodes: make(map[string]*hubNode)}
		var ids []string
		var views []*health.View
		var feeds []*health.Feed
		for i, region := range []string{"eu", "eu", "eu", "us", "us", "us"} {
			id := ulid.ULID{byte(i + 1)}.String()
			ids = append(ids, id)
			h.nodes[id] = &hubNode{hub: h, member: gossip.Member{Meta: gossip.Meta{NodeID: id, Region: region}, State: gossip.Alive},
				handlers: make(map[gossip.Kind]func(string, uint32, uint64, []byte)), sent: make(map[string]int)}
		}
		for i, id := range ids {
			n := h.nodes[id]
			v, err := health.New(health.Config{Node: id, Incarnation: 1, Region: n.member.Region, Clock: unit.SystemClock{},
				Peers: func() []health.Peer { return health.PeersOf(n.Members()) }})
			require.NoError(t, err)
			views = append(views, v)
			feeds = append(feeds, health.NewFeed(views[i], n, nil))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, f := range feeds {
			wg.Go(func() { require.NoError(t, f.Run(ctx)) })
		}
		for range 30 {
			views[0].Report(health.Observation{Deployment: "a", Latency: 200 * time.Millisecond})
		}
		for i, v := range views[:2] {
			v.UsageFrom(func(yield func(health.Usage) bool) {
				yield(health.Usage{Deployment: "w", Minute: time.Now(), Requests: 3, Tokens: 100, InFlight: int64(i)})
			})
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		h.mu.Lock()
		first := maps.Clone(h.nodes[ids[0]].sent)
		h.mu.Unlock()
		require.Equal(t, 20, first[ids[1]], "what it saw and what it asks")
		require.Equal(t, 20, first[ids[2]])
		beyond := 0
		for _, id := range ids[3:] {
			beyond += first[id]
		}
		require.Equal(t, 20, beyond, "one of the other region")
		require.Equal(t, 200*time.Millisecond, views[1].Latency("a").Mean)
		require.True(t, views[1].Latency("a").Regional)
		require.Zero(t, views[4].Latency("a"), "another region's latency is not this one's")
		passed := 0
		h.mu.Lock()
		for _, id := range ids[3:] {
			for _, n := range h.nodes[id].sent {
				passed += n
			}
		}
		h.mu.Unlock()
		require.Equal(t, 60, passed, "who got it from beyond told the two others")
		for i, want := range []int64{3, 3, 6, 6, 6, 6} {
			require.Equal(t, want, views[i].Others("w").Requests, "node %d", i)
		}
		require.Equal(t, health.Work{Requests: 6, Tokens: 200, InFlight: 1}, views[5].Others("w"))

		// Failures of two nodes close the deployment to the third without waiting
		// for the second to be over; a quota does so everywhere.
		for range 5 {
			views[0].Report(health.Observation{Deployment: "d", Outcome: health.Connect})
			views[1].Report(health.Observation{Deployment: "d", Outcome: health.Connect})
		}
		views[2].Report(health.Observation{Deployment: "b", Credential: "c", Outcome: health.Quota})
		time.Sleep(150 * time.Millisecond)
		_, reason, ok := views[2].Cooling(health.Ref{Deployment: "d"})
		require.True(t, ok)
		require.Equal(t, "connection_errors", reason)
		for i, v := range views {
			_, _, ok := v.Cooling(health.Ref{Deployment: "x", Credential: "c"})
			require.True(t, ok, "node %d", i)
		}

		// A newcomer learns of it by its first exchange of states.
		late, err := health.New(health.Config{Node: ulid.ULID{99}.String(), Region: "eu", Clock: unit.SystemClock{}})
		require.NoError(t, err)
		n := &hubNode{hub: h, handlers: make(map[gossip.Kind]func(string, uint32, uint64, []byte))}
		health.NewFeed(late, n, nil)
		n.merge(ids[3], h.nodes[ids[3]].local())
		_, _, ok = late.Cooling(health.Ref{Deployment: "x", Credential: "c"})
		require.True(t, ok)
		cancel()
		wg.Wait()
		time.Sleep(time.Second)
	})
}
