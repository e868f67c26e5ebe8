package join_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
)

func TestTokenLetsANodeInWithAllItNeeds(t *testing.T) {
	c := newCluster(t, clusterID)
	store := newStore(t)
	key, err := store.Key()
	require.NoError(t, err)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	r.Key = key
	w, err := join.Join(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, clusterID, w.ClusterID)
	require.Equal(t, "the kek", w.KEK)
	require.Equal(t, "the hash", w.MasterKeyHash)
	require.Equal(t, "c0ffee", w.ConfigHash)
	require.Len(t, w.Members, 2)
	require.EqualValues(t, 4, w.StateIndex, "found, its certificate, token, admit")
	require.EqualValues(t, 1, w.Feature)
	require.Len(t, w.Keys, 1)

	require.NoError(t, store.Accept(w))
	id, err := store.Identity("b", time.Now())
	require.NoError(t, err)
	_, err = id.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: c.self.Roots, DNSName: "b", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().AddDate(0, 0, 30), id.NotAfter, time.Minute)
	stored, ok := c.state.State().Node("b")
	require.True(t, ok)
	require.WithinDuration(t, id.NotAfter, stored.NotAfter, 0)

	keys, primary, err := store.Keys()
	require.NoError(t, err)
	require.Equal(t, w.Keys, keys)
	require.Equal(t, w.Primary, primary)
	peers, err := store.Peers()
	require.NoError(t, err)
	require.Equal(t, clusterID, peers.ClusterID)
	require.Len(t, peers.Members, 2)
	require.NotContains(t, fmt.Sprintf("%v %s", w, w.LogValue()), "the kek")
}

func TestRefusedJoinsSayWhy(t *testing.T) {
	other := newCluster(t, "01J11111111111111111111111")
	for name, c := range map[string]struct {
		make func(t *testing.T, c *cluster, r *join.Request)
		code join.Code
		says string
	}{
		"a token used twice": {func(t *testing.T, c *cluster, r *join.Request) {
			_, err := join.Join(t.Context(), c.request(t, "first", r.Token))
			require.NoError(t, err)
		}, "token_used", "has been used already"},
		"a token that expired": {func(t *testing.T, c *cluster, _ *join.Request) {
			c.mu.Lock()
			c.skew = 61 * time.Minute
			c.mu.Unlock()
		}, "token_expired", "the token expired at"},
		"a token that was revoked": {func(t *testing.T, c *cluster, r *join.Request) {
			tok, err := join.ParseToken(r.Token)
			require.NoError(t, err)
			_, err = c.submit(t.Context(), &members.Command{Op: members.OpRevoke, ID: tok.ID})
			require.NoError(t, err)
		}, "token_revoked", "was revoked"},
		"a token of another cluster": {func(t *testing.T, _ *cluster, r *join.Request) {
			r.Token = other.token(t, join.Invitation{})
		}, join.CodeOtherCluster, "the token belongs to another cluster, or founder.test:7946 is not part of the one it was made in"},
		"a node with another authority": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Dial = func(ctx context.Context, _ string) (*tls.Conn, error) {
				return dial(context.WithoutCancel(ctx), c.server, selfSigned(t, "founder"))
			}
		}, join.CodeOtherCluster, "belongs to another cluster"},
		"a stranger that shows the right authority": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Dial = func(ctx context.Context, _ string) (*tls.Conn, error) {
				cert := selfSigned(t, "founder")
				cert.Certificate = append(cert.Certificate, c.self.Certificate.Certificate[1])
				return dial(context.WithoutCancel(ctx), c.server, cert)
			}
		}, join.CodeOtherCluster, "has no valid certificate of it"},
		"a node without a cluster": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Dial = func(ctx context.Context, _ string) (*tls.Conn, error) {
				return dial(context.WithoutCancel(ctx), c.server, selfSigned(t, "unjoined.tollgate.invalid"))
			}
		}, join.CodeForming, "belongs to no cluster yet"},
		"a secret that is not the token's": {func(t *testing.T, c *cluster, r *join.Request) {
			tok, err := join.ParseToken(r.Token)
			require.NoError(t, err)
			tok.Secret[3] ^= 1
			r.Token, err = tok.Text()
			require.NoError(t, err)
		}, join.CodeProof, "copy the token again"},
		"a token nobody made": {func(t *testing.T, c *cluster, r *join.Request) {
			tok, err := join.ParseToken(r.Token)
			require.NoError(t, err)
			tok.ID = "0123456789abcdef"
			r.Token, err = tok.Text()
			require.NoError(t, err)
		}, "token_unknown", "not known to this cluster"},
		"another cluster's secret": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Token, r.Secret = "", []byte("guess")
		}, join.CodeProof, "the same --cluster-secret"},
		"a secret where there is none": {func(t *testing.T, c *cluster, r *join.Request) {
			c.deps.Secret = nil
			c.serve()
			r.Token, r.Secret = "", []byte("guess")
		}, join.CodeProof, "has no cluster secret"},
		"a token for another role": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Node.Role = members.RoleWitness
		}, "wrong_role", "make one for it with: tollgate token create --role witness"},
		"a release that is too new": {func(t *testing.T, c *cluster, r *join.Request) {
			r.Node.FeatureMin, r.Node.FeatureMax = 2, 3
		}, "feature", "speaks feature levels 2 to 3, the cluster is at 1"},
		"a copied disk": {func(t *testing.T, c *cluster, r *join.Request) {
			c.alive["b"] = true
		}, join.CodeAlive, "this data directory is a copy of its disk"},
		"a removed node": {func(t *testing.T, c *cluster, r *join.Request) {
			for _, cmd := range []members.Command{{Op: members.OpAdmit, Node: &r.Node}, {Op: members.OpRemove, ID: "b", Why: "forgotten"}} {
				_, err := c.submit(t.Context(), &cmd)
				require.NoError(t, err)
			}
		}, "removed", "(forgotten)"},
		"a data directory of another cluster": {func(t *testing.T, c *cluster, r *join.Request) {
			r.ClusterID = "01J22222222222222222222222"
		}, join.CodeOtherCluster, "belongs to cluster 01J22222222222222222222222"},
		"a node from before a recovery": {func(t *testing.T, c *cluster, r *join.Request) {
			r.ClusterID, r.Generation = clusterID, 7
		}, join.CodeGeneration, "remove raft and cluster"},
		"no majority": {func(t *testing.T, c *cluster, r *join.Request) {
			c.down = errNoLeader
		}, join.CodeNoQuorum, "when a majority of its voters runs"},
		"a cluster that is being formed": {func(t *testing.T, c *cluster, r *join.Request) {
			c.id = ""
		}, join.CodeForming, "is being formed"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t, clusterID)
			r := cl.request(t, "b", cl.token(t, join.Invitation{}))
			c.make(t, cl, &r)
			before := cl.state.State().Len()
			_, err := join.Join(t.Context(), r)
			var refusal *join.Refusal
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, c.code, refusal.Code, err.Error())
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Equal(t, before, cl.state.State().Len())
		})
	}
}

func TestNothingLeavesBeforeTheAuthorityIsProven(t *testing.T) {
	c := newCluster(t, clusterID)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	heard := make(chan int, 1)
	r.Dial = func(ctx context.Context, _ string) (*tls.Conn, error) {
		return dialTo(ctx, func(there net.Conn) {
			conn := tls.Server(there, config(selfSigned(t, "founder")))
			n, _ := conn.Read(make([]byte, 1)) // it ends with the connection
			heard <- n
			_ = conn.Close()
		})
	}
	_, err := join.Join(t.Context(), r)
	require.ErrorContains(t, err, "another cluster")
	require.Zero(t, <-heard)
}

func TestStrangerWhoDoesNotKnowTheSecretIsNotBelieved(t *testing.T) {
	c, evil := newCluster(t, clusterID), newCluster(t, "01J11111111111111111111111")
	r := c.request(t, "b", "")
	r.Secret = c.deps.Secret
	// The stranger takes anything for proven, and answers as if it had proof.
	r.Dial = func(ctx context.Context, addr string) (*tls.Conn, error) { return evil.dial(ctx, addr) }
	_, err := join.Join(t.Context(), r)
	require.ErrorContains(t, err, "cluster secret is not this cluster's")
	require.Equal(t, 1, evil.state.State().Len())
}

func TestSecretLetsIn(t *testing.T) {
	c := newCluster(t, clusterID)
	r := c.request(t, "b", "")
	r.Secret = c.deps.Secret
	w, err := join.Join(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, "b", w.Node.ID)
}

func TestOneTokenForOneNodeIsNotRaced(t *testing.T) {
	c := newCluster(t, clusterID)
	text := c.token(t, join.Invitation{Uses: 2})
	var in, out atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		r := c.request(t, fmt.Sprint("n", i), text)
		wg.Go(func() {
			if _, err := join.Join(t.Context(), r); err == nil {
				in.Add(1)
			} else {
				out.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 2, in.Load())
	require.EqualValues(t, 6, out.Load())
}

func TestRetriedJoinUsesTheTokenOnce(t *testing.T) {
	c := newCluster(t, clusterID)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	for range 3 {
		_, err := join.Join(t.Context(), r)
		require.NoError(t, err)
	}
}

func TestMemberThatLostItsCertificateJoinsAgainWithAToken(t *testing.T) {
	c := newCluster(t, clusterID)
	_, err := join.Join(t.Context(), c.request(t, "b", c.token(t, join.Invitation{})))
	require.NoError(t, err)
	again := c.request(t, "b", c.token(t, join.Invitation{})) // with another key
	again.ClusterID = clusterID
	w, err := join.Join(t.Context(), again)
	require.NoError(t, err)
	require.Len(t, w.Members, 2)
}

func TestFiveFailuresClosetheDoorForAMinute(t *testing.T) {
	c := newCluster(t, clusterID)
	good := c.request(t, "b", c.token(t, join.Invitation{}))
	bad := c.request(t, "b", "")
	bad.Secret = []byte("guess")
	for range 5 {
		_, err := join.Join(t.Context(), bad)
		require.ErrorContains(t, err, "not this cluster's")
	}
	_, err := join.Join(t.Context(), good)
	require.ErrorContains(t, err, "too many failed attempts from")
	c.mu.Lock()
	c.skew = 59 * time.Second
	c.mu.Unlock()
	_, err = join.Join(t.Context(), good)
	require.ErrorContains(t, err, "try again in")
	c.mu.Lock()
	c.skew = 61 * time.Second
	c.mu.Unlock()
	_, err = join.Join(t.Context(), good)
	require.NoError(t, err)
}

func TestTokenThatIsOverDoesNotMakeTheClusterCommitForEver(t *testing.T) {
	c := newCluster(t, clusterID)
	text := c.token(t, join.Invitation{})
	_, err := join.Join(t.Context(), c.request(t, "b", text))
	require.NoError(t, err)
	for i := range 5 {
		_, err := join.Join(t.Context(), c.request(t, fmt.Sprintf("c%d", i), text))
		require.ErrorContains(t, err, "has been used already")
	}
	before := c.state.State().At
	_, err = join.Join(t.Context(), c.request(t, "c", text))
	require.ErrorContains(t, err, "too many failed attempts from")
	require.Equal(t, before, c.state.State().At, "nothing was committed")
}

func TestTokenMadeOnAnotherNodeAMomentAgoIsKnown(t *testing.T) {
	c := newCluster(t, clusterID)
	c.lag = true
	text := c.token(t, join.Invitation{})
	require.Empty(t, c.state.State().Tokens())
	_, err := join.Join(t.Context(), c.request(t, "b", text))
	require.NoError(t, err)
}

func TestPatientJoinOutlastsAnElectionAndSilentAddresses(t *testing.T) {
	c := newCluster(t, clusterID)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	r.Addrs = []string{"gone.test:7946", "founder.test:7946"}
	passes := 0
	r.Dial = func(ctx context.Context, addr string) (*tls.Conn, error) {
		if addr == "gone.test:7946" {
			return nil, errNoLeader
		}
		passes++
		c.mu.Lock()
		if c.down = nil; passes < 3 {
			c.down = errNoLeader
		}
		c.mu.Unlock()
		return c.dial(ctx, addr)
	}
	_, err := join.Join(t.Context(), r)
	require.ErrorContains(t, err, "gone.test:7946:")
	require.ErrorContains(t, err, "; founder.test:7946: the cluster cannot agree")
	r.Patience = time.Minute
	_, err = join.Join(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, 3, passes)
}

func TestJoinNeedsAnAddressAndATokenThatReads(t *testing.T) {
	c := newCluster(t, clusterID)
	r := c.request(t, "b", "hello")
	_, err := join.Join(t.Context(), r)
	require.ErrorContains(t, err, "this is no join token")
	r.Addrs = nil
	_, err = join.Join(t.Context(), r)
	require.ErrorContains(t, err, "no address")
}
