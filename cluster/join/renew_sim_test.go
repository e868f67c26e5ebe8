package join_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/unit"
)

func renewer(c *cluster, renewed func(*join.Identity) error) *join.Renewer {
	return &join.Renewer{
		NodeID: "founder", Store: c.store, State: c.state.State, Submit: c.submit, Box: c.box,
		Renewed: renewed, Logger: slog.New(slog.DiscardHandler), Clock: unit.SystemClock{},
	}
}

func TestCertificatesAreRenewedAtTwoThirdsOfTheirLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterID)
		begin := time.Now()
		var at []time.Duration
		r := renewer(c, func(id *join.Identity) error {
			at = append(at, time.Since(begin).Round(24*time.Hour))
			require.Equal(t, "founder", id.NodeID)
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(90 * 24 * time.Hour)
		cancel()
		require.NoError(t, <-done)
		day := 24 * time.Hour
		require.Equal(t, []time.Duration{20 * day, 40 * day, 60 * day, 80 * day}, at)
		id, err := c.store.Identity("founder", time.Now())
		require.NoError(t, err, "it never ran out")
		n, _ := c.state.State().Node("founder")
		require.WithinDuration(t, id.NotAfter, n.NotAfter, 0)
	})
}

func TestLongOutageOfTheMajorityEndsWithGoodCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterID)
		c.down = errNoLeader
		renewals := 0
		r := renewer(c, func(*join.Identity) error { renewals++; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(70 * 24 * time.Hour)
		_, err := c.store.Identity("founder", time.Now())
		require.NoError(t, err)
		require.Equal(t, 3, renewals)
		cancel()
		require.NoError(t, <-done)
	})
}

// relay calls the cluster as a named member.
type relay struct {
	c    *cluster
	from string
}

func (r relay) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	if node != "founder" {
		return nil, peer.ErrUnreached
	}
	return r.c.handler[method](ctx, r.from, request)
}

func TestMemberThatCannotSignHasAnotherSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterID)
		r := renewer(c, nil)
		r.NodeID, r.Store = "b", newStore(t)
		key, err := r.Store.Key()
		require.NoError(t, err)
		_, err = c.submit(t.Context(), &members.Command{Op: members.OpAdmit, Node: ptr(node("b"))})
		require.NoError(t, err)
		authority, err := join.OpenAuthority(c.state.State().CA, c.box)
		require.NoError(t, err)
		signed, err := authority.Sign(csr(t, key), "b", time.Now().AddDate(0, 0, -25))
		require.NoError(t, err)
		require.NoError(t, r.Store.SaveCertificate(signed.Cert, authority.PEM()))

		got := make(chan *join.Identity, 1)
		r.Renewed = func(id *join.Identity) error { got <- id; return nil }
		r.Box = newBox(t, "another") // cannot open
		r.Call, r.Others = relay{c, "b"}, func() []string { return []string{"gone", "founder"} }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		require.Equal(t, "b", (<-got).NodeID)
		cancel()
		require.NoError(t, <-done)
	})
}

func TestOnlyMembersAreSignedFor(t *testing.T) {
	c := newCluster(t, clusterID)
	key, err := newStore(t).Key()
	require.NoError(t, err)
	request, err := json.Marshal(map[string]any{"csr": csr(t, key)})
	require.NoError(t, err)
	_, err = relay{c, "nobody"}.Call(t.Context(), "founder", join.MethodRenew, request)
	require.ErrorContains(t, err, "node nobody is not a member")
	_, err = relay{c, "founder"}.Call(t.Context(), "founder", join.MethodRenew, []byte("?"))
	require.Error(t, err)
}
