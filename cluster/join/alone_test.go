package join_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
)

func ptr[T any](v T) *T { return &v }

func csr(t *testing.T, key *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return der
}

type caller func(node, method string, request []byte) ([]byte, error)

func (f caller) Call(_ context.Context, node, method string, request []byte) ([]byte, error) {
	return f(node, method, request)
}

func TestCopiedDiskIsNoticedBeforeItVotes(t *testing.T) {
	c := newCluster(t, clusterID)
	me := join.Whoami{ID: "founder", Incarnation: 2, NonceSum: join.SumNonce("the copy's"), Addr: "copy.test:7946"}
	peers := join.Peers{Members: []join.Peer{{ID: "founder", Addr: "founder.test:7946"}, {ID: "b", Addr: "b.test:7946"}}}
	nobody := caller(func(string, string, []byte) ([]byte, error) { return nil, peer.ErrUnreached })
	silent := func(context.Context, string) (*tls.Conn, error) { return nil, errNoLeader }
	// b reaches the original, as its own server answers.
	c.deps.Caller = caller(func(node, method string, request []byte) ([]byte, error) {
		require.Equal(t, "founder", node)
		return json.Marshal(c.deps.Self())
	})
	c.serve()
	through := caller(func(node, method string, request []byte) ([]byte, error) {
		require.Equal(t, "b", node)
		return c.handler[method](t.Context(), "founder", request)
	})
	original := c.deps.Self()
	moved := original
	moved.Addr = "new.test:7946"
	for name, a := range map[string]struct {
		alone join.Alone
		copy  bool
	}{
		"at its last address":                    {join.Alone{Self: me, Peers: peers, Dial: c.dial, Call: nobody, Identity: c.self}, true},
		"through a member":                       {join.Alone{Self: me, Peers: peers, Dial: silent, Call: through, Identity: c.self}, true},
		"nobody is there":                        {join.Alone{Self: me, Peers: peers, Dial: silent, Call: nobody, Identity: c.self}, false},
		"it is this very process":                {join.Alone{Self: moved, Peers: peers, Dial: c.dial, Call: through, Identity: c.self}, false},
		"another node took the address":          {join.Alone{Self: join.Whoami{ID: "x", Addr: "copy.test:7946"}, Peers: join.Peers{Members: []join.Peer{{ID: "x", Addr: "founder.test:7946"}}}, Dial: c.dial, Call: nobody, Identity: c.self}, false},
		"a node of another cluster took it over": {join.Alone{Self: me, Peers: peers, Dial: newCluster(t, clusterID).dial, Call: nobody, Identity: c.self}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := join.CheckAlone(t.Context(), a.alone)
			if !a.copy {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "node founder already runs at founder.test:7946: this data directory is a copy of its disk; empty it and join as a new node")
		})
	}
}

func TestNodesAskForThemselvesOnly(t *testing.T) {
	c := newCluster(t, clusterID)
	request, err := json.Marshal(join.Whoami{ID: "victim"})
	require.NoError(t, err)
	_, err = relay{c, "b"}.Call(t.Context(), "founder", join.MethodWhereis, request)
	require.ErrorContains(t, err, "for itself only")
}

func TestConflictStopsTheStartThatIsNotRegistered(t *testing.T) {
	a, b := join.Whoami{ID: "n", NonceSum: join.SumNonce("a"), StartedAt: time.Unix(10, 0)}, join.Whoami{ID: "n", NonceSum: join.SumNonce("b"), StartedAt: time.Unix(20, 0)}
	c := newCluster(t, clusterID)
	require.NoError(t, join.Conflict(c.state.State(), a, a))
	require.NoError(t, join.Conflict(c.state.State(), a, b), "the elder goes on")
	require.Error(t, join.Conflict(c.state.State(), b, a), "the younger stops")

	n := node("n")
	_, err := c.submit(t.Context(), &members.Command{Op: members.OpAdmit, Node: &n})
	require.NoError(t, err)
	n.Incarnation, n.Nonce = 4, "b"
	require.NoError(t, join.Superseded(c.state.State(), "n", "a", 3))
	_, err = c.submit(t.Context(), &members.Command{Op: members.OpStart, Node: &n})
	require.NoError(t, err)
	require.Error(t, join.Conflict(c.state.State(), a, b))
	require.NoError(t, join.Conflict(c.state.State(), b, a), "the registered start goes on")
	require.Error(t, join.Superseded(c.state.State(), "n", "a", 3))
	require.NoError(t, join.Superseded(c.state.State(), "n", "b", 4))
	require.NoError(t, join.Superseded(c.state.State(), "n", "c", 5), "not registered yet")
}
