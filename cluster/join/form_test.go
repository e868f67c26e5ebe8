package join_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
)

// meadow is where machines form a cluster over real connections.
type meadow struct {
	mu      sync.Mutex
	servers map[string]*join.Server // by address
	certs   map[string]tls.Certificate
}

func (m *meadow) dial(ctx context.Context, addr string) (*tls.Conn, error) {
	m.mu.Lock()
	s, cert := m.servers[addr], m.certs[addr]
	m.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("dial %s: nobody is there", addr)
	}
	return dial(context.WithoutCancel(ctx), s, cert)
}

func newMeadow() *meadow {
	return &meadow{servers: map[string]*join.Server{}, certs: map[string]tls.Certificate{}}
}

// add makes a machine that forms; edit may change what it was given.
func (m *meadow) add(t *testing.T, name string, edit func(*join.FormConfig)) *join.Former {
	secret, err := join.SecretKey("the secret")
	require.NoError(t, err)
	cfg := join.FormConfig{
		NodeID: "id-" + name, Nonce: "nonce of " + name, Expect: 3, Secret: secret, Memo: newStore(t), Dial: m.dial,
		Peers:   []string{"a.test:1", "b.test:1", "c.test:1"},
		Resolve: func(_ context.Context, host string) ([]string, error) { return []string{host}, nil },
		Join:    func(context.Context, []string) (*join.Welcome, error) { return nil, errNoLeader },
		Every:   20 * time.Millisecond,
	}
	if edit != nil {
		edit(&cfg)
	}
	f, err := join.NewFormer(cfg)
	require.NoError(t, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers[name+".test:1"] = join.NewServer(join.Deps{
		ClusterID: func() string { return "" }, Secret: cfg.Secret, Former: f,
		Self: func() join.Whoami { return join.Whoami{ID: cfg.NodeID, NonceSum: join.SumNonce(cfg.Nonce)} },
	})
	m.certs[name+".test:1"] = selfSigned(t, "unjoined.tollgate.invalid")
	return f
}

func TestThreeMachinesFormOneClusterOverTheirSecret(t *testing.T) {
	m := newMeadow()
	founder := newCluster(t, clusterID)
	joinIt := func(id string) func(*join.FormConfig) {
		return func(cfg *join.FormConfig) {
			cfg.Join = func(ctx context.Context, addrs []string) (*join.Welcome, error) {
				r := founder.request(t, id, "")
				r.Addrs, r.Secret, r.Dial = addrs, founder.deps.Secret, m.dial
				return join.Join(ctx, r)
			}
		}
	}
	secret, err := join.SecretKey("the secret")
	require.NoError(t, err)
	founder.deps.Secret = secret
	founder.serve()
	formers := map[string]*join.Former{}
	for _, name := range []string{"c", "a", "b"} {
		formers[name] = m.add(t, name, joinIt("id-"+name))
	}
	type end struct {
		name string
		out  *join.Outcome
		err  error
	}
	ends := make(chan end)
	for name, f := range formers {
		go func() {
			out, err := f.Run(t.Context())
			ends <- end{name, out, err}
		}()
	}
	first := <-ends
	require.NoError(t, first.err)
	require.True(t, first.out.Found)
	m.mu.Lock()
	m.servers[first.name+".test:1"], m.certs[first.name+".test:1"] = founder.server, founder.self.Certificate
	m.mu.Unlock()
	for range 2 {
		e := <-ends
		require.NoError(t, e.err)
		require.Equal(t, clusterID, e.out.Welcome.ClusterID)
	}
	require.Equal(t, 3, founder.state.State().Len())
}

func TestMachinesThatExpectDifferentNumbersSaySo(t *testing.T) {
	m := newMeadow()
	f := m.add(t, "a", nil)
	m.add(t, "b", func(cfg *join.FormConfig) { cfg.Expect = 2 })
	_, err := f.Run(t.Context())
	require.ErrorContains(t, err, "node id-b at b.test:1 expects 2 nodes, this one 3")
}

func TestTwoClustersAmongThePeersAreNamed(t *testing.T) {
	m := newMeadow()
	for name, id := range map[string]string{"b": clusterID, "c": "01J11111111111111111111111"} {
		c := newCluster(t, id)
		c.deps.Secret, _ = join.SecretKey("the secret")
		c.serve()
		m.servers[name+".test:1"], m.certs[name+".test:1"] = c.server, c.self.Certificate
	}
	_, err := m.add(t, "a", nil).Run(t.Context())
	require.ErrorContains(t, err, "the peers belong to different clusters ("+clusterID+" at b.test:1, 01J11111111111111111111111 at c.test:1)")
}

func TestCopyOfThisMachineAmongThePeersIsNoticed(t *testing.T) {
	m := newMeadow()
	f := m.add(t, "a", nil)
	m.add(t, "b", func(cfg *join.FormConfig) { cfg.NodeID = "id-a" })
	_, err := f.Run(t.Context())
	require.ErrorContains(t, err, "node id-a already runs at b.test:1")
}

// waits runs formers and returns what one of them has logged by the time it
// says so. None may come to an end.
func waits(t *testing.T, says string, log *lockedBuffer, formers ...*join.Former) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, f := range formers {
		wg.Go(func() {
			out, err := f.Run(ctx)
			if out != nil || ctx.Err() == nil {
				t.Errorf("ended: %+v, %v", out, err)
			}
		})
	}
	require.Eventually(t, func() bool { return bytes.Contains(log.bytes(), []byte(says)) }, 20*time.Second, 10*time.Millisecond, "%s", says)
	cancel()
	wg.Wait()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func TestWaitingMachinesSayWhatFor(t *testing.T) {
	six := []string{"a.test:1", "b.test:1", "c.test:1", "d.test:1", "e.test:1", "f.test:1"}
	for name, c := range map[string]struct {
		names string
		edit  func(i int, cfg *join.FormConfig)
		says  string
	}{
		"for a third":              {"ab", func(int, *join.FormConfig) {}, "waiting for other nodes"},
		"since two groups may fit": {"abc", func(_ int, cfg *join.FormConfig) { cfg.Peers = six }, "two groups could each found a cluster"},
		"since one of three has another secret": {"abc", func(i int, cfg *join.FormConfig) {
			cfg.Expect = 2
			if i == 2 {
				cfg.Secret = []byte("another")
			}
		}, "may belong to a cluster"},
		"for one that vanished": {"ab", func(i int, cfg *join.FormConfig) {
			if i == 1 {
				_ = cfg.Memo.SaveBallot(join.Ballot{NodeID: cfg.NodeID, To: "id-gone", ToEpoch: 1}) // a fresh directory takes it
			}
		}, "out of reach; if it is gone for good"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeadow()
			log := &lockedBuffer{}
			var formers []*join.Former
			for i, r := range c.names {
				formers = append(formers, m.add(t, string(r), func(cfg *join.FormConfig) {
					c.edit(i, cfg)
					cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
				}))
			}
			waits(t, c.says, log, formers...)
		})
	}
}

func TestPeerNamesMayStandForManyMachinesAndBothFamilies(t *testing.T) {
	m := newMeadow()
	headless := func(cfg *join.FormConfig) {
		cfg.Peers = []string{"all.test:1", "a.test:1"}
		cfg.Resolve = func(_ context.Context, host string) ([]string, error) {
			if host == "all.test" {
				return []string{"a.test", "b.test", "c.test"}, nil
			}
			return []string{host, "fd00::1"}, nil // where nobody listens
		}
	}
	formers := []*join.Former{m.add(t, "a", headless), m.add(t, "b", headless), m.add(t, "c", headless)}
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan int, 3)
	var wg sync.WaitGroup
	for i, f := range formers {
		wg.Go(func() {
			if out, err := f.Run(ctx); err == nil && out.Found {
				found <- i
			}
		})
	}
	<-found
	cancel()
	wg.Wait()
	require.Empty(t, found, "one founds, the others wait for it")
}

func TestOneMachineThatExpectsItselfFounds(t *testing.T) {
	m := newMeadow()
	out, err := m.add(t, "a", func(cfg *join.FormConfig) { cfg.Expect, cfg.Peers = 1, nil }).Run(t.Context())
	require.NoError(t, err)
	require.True(t, out.Found)
}

func TestFormingNeedsPeersASecretAndANumber(t *testing.T) {
	for says, cfg := range map[string]join.FormConfig{
		"want at least 1":  {Secret: []byte("s"), Memo: newStore(t)},
		"no peer is named": {Expect: 3, Secret: []byte("s"), Memo: newStore(t)},
		"no secret":        {Expect: 1, Memo: newStore(t)},
	} {
		_, err := join.NewFormer(cfg)
		require.ErrorContains(t, err, says)
	}
}
