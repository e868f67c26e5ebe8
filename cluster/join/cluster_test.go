package join_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

const clusterID = "01J00000000000000000000000"

// cluster is one founding node with its state machine, reached over TLS.
type cluster struct {
	t      *testing.T
	id     string
	state  *members.Applier
	box    *secret.Box
	store  *join.Store
	deps   join.Deps
	self   *join.Identity
	server *join.Server

	mu      sync.Mutex // guards what follows
	index   uint64
	skew    time.Duration // of the state's clock
	down    error         // what agreement says
	lag     bool          // this node has not applied the last commands
	alive   map[string]bool
	handler map[string]peer.Handler
}

func newBox(t *testing.T, cluster string) *secret.Box {
	kek, err := secret.KEKFromText("kek of " + cluster)
	require.NoError(t, err)
	box := secret.NewBox(kek)
	wrapped, err := box.NewDataKey(cluster)
	require.NoError(t, err)
	_, err = box.Install(cluster, wrapped)
	require.NoError(t, err)
	return box
}

func newStore(t *testing.T) *join.Store {
	s, err := join.OpenStore(t.TempDir())
	require.NoError(t, err)
	return s
}

func node(id string) members.Node {
	return members.Node{ID: id, Name: "name of " + id, Role: members.RoleNode, Addr: id + ".test:7946", FeatureMin: 1, FeatureMax: 1}
}

func newCluster(t *testing.T, id string) *cluster {
	c := &cluster{t: t, id: id, state: members.NewApplier(), box: newBox(t, id), store: newStore(t), alive: map[string]bool{}, handler: map[string]peer.Handler{}}
	key, err := join.SecretKey("cluster secret of " + id)
	require.NoError(t, err)
	c.deps = join.Deps{
		ClusterID: func() string { return c.id }, State: c.state.State, Submit: c.submit,
		Index: func(context.Context) (uint64, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.down == nil && c.lag {
				c.state.Publish()
				c.lag = false
			}
			return c.index, c.down
		},
		Alive: func(id string) bool { c.mu.Lock(); defer c.mu.Unlock(); return c.alive[id] },
		Self: func() join.Whoami {
			return join.Whoami{ID: "founder", Incarnation: 1, NonceSum: join.SumNonce("founder's"), Addr: "founder.test:7946"}
		},
		Box: c.box, KEK: func() string { return "the kek" }, MasterKeyHash: func() string { return "the hash" },
		ConfigHash: func() string { return "c0ffee" }, Secret: key, Caller: c, Clock: unit.ClockFunc(c.now), Logger: slog.New(slog.DiscardHandler),
	}
	c.self, err = join.Found(t.Context(), c.founder())
	require.NoError(t, err)
	c.serve()
	return c
}

func (c *cluster) founder() join.Founder {
	return join.Founder{
		ClusterID: c.id, Node: node("founder"), State: c.state.State, Submit: c.submit, Box: c.box, Store: c.store,
		Logger: slog.New(slog.DiscardHandler), Clock: unit.ClockFunc(c.now),
	}
}

func (c *cluster) serve() {
	c.server = join.NewServer(c.deps)
	c.server.Handle(c)
}

func (c *cluster) Handle(method string, h peer.Handler) { c.handler[method] = h }

// Call makes the cluster its only node's caller.
func (c *cluster) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	if node != "founder" {
		return nil, peer.ErrUnreached
	}
	return c.handler[method](ctx, "caller", request)
}

func (c *cluster) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

func (c *cluster) submit(_ context.Context, cmd *members.Command) (members.Result, error) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return members.Result{}, c.down
	}
	c.index++
	r, ok := c.state.Apply(c.index, now, members.Version, cmd.Encode()).(members.Result)
	require.True(c.t, ok)
	if !c.lag {
		c.state.Publish()
	}
	return r, nil
}

func (c *cluster) token(t *testing.T, in join.Invitation) string {
	if in.Role == "" {
		in.Role = members.RoleNode
	}
	if in.Uses == 0 {
		in.Uses = 1
	}
	if in.TTL == 0 {
		in.TTL = time.Hour
	}
	text, tok, err := join.MakeToken(c.box, c.state.State().CA, in, c.now())
	require.NoError(t, err)
	r, err := c.submit(t.Context(), &members.Command{Op: members.OpToken, Token: tok})
	require.NoError(t, err)
	require.NoError(t, r.Err())
	return text
}

func config(cert tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
}

// dial is a join connection to a server that shows cert.
func dial(ctx context.Context, server *join.Server, cert tls.Certificate) (*tls.Conn, error) {
	return dialTo(ctx, func(there net.Conn) { server.Serve(ctx, tls.Server(there, config(cert))) })
}

func dialTo(ctx context.Context, serve func(there net.Conn)) (*tls.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close() // one connection is all
	go func() {
		if there, err := l.Accept(); err == nil {
			serve(there)
		}
	}()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(here, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}) // join verifies
	return conn, conn.HandshakeContext(ctx)
}

func (c *cluster) dial(ctx context.Context, _ string) (*tls.Conn, error) {
	return dial(context.WithoutCancel(ctx), c.server, c.self.Certificate)
}

// request is that of a fresh machine.
func (c *cluster) request(t *testing.T, id, token string) join.Request {
	key, err := newStore(t).Key()
	require.NoError(t, err)
	return join.Request{Dial: c.dial, Addrs: []string{"founder.test:7946"}, Token: token, Node: node(id), Key: key}
}

// selfSigned is the certificate of a stranger with some names.
func selfSigned(t *testing.T, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func readFile(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

var errNoLeader = errors.New("no leader: a majority of voters is out of reach")
