package join_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/peer"
)

// open is a running cluster port.
func open(t *testing.T) *peer.Port {
	p, err := peer.Listen(peer.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return p
}

func show(t *testing.T, p *peer.Port, id *join.Identity) {
	require.NoError(t, p.SetIdentity(peer.Identity{ClusterID: clusterID, NodeID: id.NodeID, Certificate: id.Certificate, Roots: id.Roots}))
}

func TestNewcomerJoinsThroughTheClusterPortAndIsCalledByItsId(t *testing.T) {
	c := newCluster(t, clusterID)
	old, fresh := open(t), open(t)
	old.OnJoin(c.server.Serve)
	c.server.Handle(old)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	r.Dial, r.Addrs = fresh.DialJoin, []string{old.Addr()}
	_, err := join.Join(t.Context(), r)
	require.ErrorContains(t, err, "belongs to no cluster yet", "it shows no certificate of the cluster so far")

	show(t, old, c.self)
	w, err := join.Join(t.Context(), r)
	require.NoError(t, err)
	store := newStore(t)
	require.NoError(t, store.Accept(w)) // with the request's key it would be the node's own
	_, err = store.Identity("b", time.Now())
	require.ErrorContains(t, err, "not of its key")

	r = c.request(t, "d", c.token(t, join.Invitation{}))
	r.Dial, r.Addrs = fresh.DialJoin, []string{old.Addr()}
	r.Key, err = store.Key()
	require.NoError(t, err)
	w, err = join.Join(t.Context(), r)
	require.NoError(t, err)
	require.NoError(t, store.Accept(w))
	id, err := store.Identity("d", time.Now())
	require.NoError(t, err)
	show(t, fresh, id)
	fresh.Book().Set("founder", old.Addr())
	text, err := fresh.Call(t.Context(), "founder", join.MethodWhoami, nil)
	require.NoError(t, err)
	require.Contains(t, string(text), `"id":"founder"`)

	// A copy of the founder's disk looks for itself where it was last registered.
	alone := join.Alone{
		Self:  join.Whoami{ID: "founder", NonceSum: "another", Addr: "127.0.0.1:1"},
		Peers: join.Peers{Members: []join.Peer{{ID: "founder", Addr: old.Addr()}}},
		Dial:  fresh.DialJoin, Call: fresh, Identity: c.self,
	}
	require.ErrorContains(t, join.CheckAlone(t.Context(), alone), "is a copy of its disk")
}
