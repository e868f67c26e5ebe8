package once_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/ledger/once"
	"tollgate/ledger/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is one set of claims and the nodes that use it.
type cluster struct {
	t      *testing.T
	claims *once.Claims

	mu     sync.Mutex // guards what follows
	now    time.Time
	index  uint64
	away   error         // what proposals fail with
	slow   chan struct{} // each proposal takes one; nil: none waits
	sent   int           // proposals that came, and their operations
	ops    int
	after  bool // they are applied nevertheless
	old    bool // a member does not know claims
	may    func(node string, e *store.Entry) bool
	nodes  map[string]*node
	copies map[once.CallID]kept
}

type kept struct {
	status string
	answer []byte
}

// node is one start of a node, with its ledger.
type node struct {
	*once.Desk
	name   string
	ledger *store.Ledger
	dir    string
	down   bool
	end    func()
}

func newCluster(t *testing.T) *cluster {
	return &cluster{t: t, claims: once.NewClaims(), now: time.Now(), nodes: map[string]*node{}, copies: map[once.CallID]kept{}}
}

func (c *cluster) propose(_ context.Context, payload []byte) (*once.Answer, error) {
	cmd, err := once.DecodeCommand(payload)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.sent++
	c.ops += len(cmd.Ops)
	c.mu.Unlock()
	if c.slow != nil {
		<-c.slow
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away != nil && !c.after {
		return nil, c.away
	}
	c.index++
	a := c.claims.Apply(c.index, c.now, once.Version, payload).(*once.Answer)
	if c.away != nil {
		return nil, c.away
	}
	return once.DecodeAnswer(once.AppendAnswer(nil, a))
}

func (c *cluster) agreed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.old
}

// upgrade has all members know claims, or not.
func (c *cluster) upgrade(done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = !done
}

var errDown = errors.New("node is down")

func (c *cluster) ask(ctx context.Context, from, to string, payload []byte) ([]byte, error) {
	c.mu.Lock()
	n := c.nodes[to]
	c.mu.Unlock()
	if n == nil || n.down {
		return nil, errDown
	}
	return n.Serve(ctx, from, payload)
}

func (c *cluster) look(_ context.Context, _ string, call once.CallID) (string, []byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.copies[call]
	return k.status, k.answer, ok
}

// start starts a node, in the directory of its start before if there was one.
func (c *cluster) start(name string) *node {
	c.t.Helper()
	n := &node{name: name, dir: c.t.TempDir()}
	c.mu.Lock()
	if was := c.nodes[name]; was != nil {
		n.dir = was.dir
	}
	c.mu.Unlock()
	var err error
	n.ledger, err = store.Open(store.Config{Dir: n.dir, Ballast: -1})
	require.NoError(c.t, err)
	n.Desk = once.NewDesk(once.Config{Node: name, Incarnation: n.ledger.Incarnation(), Propose: c.propose, Ledger: n.ledger,
		Ask: func(ctx context.Context, to string, payload []byte) ([]byte, error) {
			return c.ask(ctx, name, to, payload)
		}, May: c.may,
		Copies: c.look, Within: time.Second, Agreed: c.agreed})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	n.end = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		n.down = true
		require.NoError(c.t, n.ledger.Close())
	})
	c.t.Cleanup(n.end)
	c.mu.Lock()
	c.nodes[name] = n
	c.mu.Unlock()
	return n
}

// call is what Take gave.
type call struct {
	id     once.CallID
	answer []byte
	err    error
}

var calls struct {
	sync.Mutex
	n int
}

func newCall() (id once.CallID) {
	calls.Lock()
	defer calls.Unlock()
	calls.n++
	copy(id[:], fmt.Sprintf("call-%011d", calls.n))
	return id
}

func (n *node) take(ctx context.Context, key, body string) call {
	c := call{id: newCall()}
	c.answer, c.err = n.Take(ctx, once.IDOf("caller", key), once.SumOf("/chat", []byte(body)), c.id)
	return c
}

// book settles a call, with the answer that is kept if there is one.
func (n *node) book(t *testing.T, id once.CallID, status string, answer []byte) {
	t.Helper()
	ref, err := n.ledger.Begin(&store.Intent{CallID: id, At: time.Now(), Key: "k"})
	require.NoError(t, err)
	_, err = n.ledger.Settle(ref, &store.Entry{CallID: id, Status: status, Start: time.Now(), End: time.Now(), Answer: answer})
	require.NoError(t, err)
}

func requireRefused(t *testing.T, c call, why once.Why) {
	t.Helper()
	var no *once.Refused
	require.ErrorAs(t, c.err, &no)
	require.Equal(t, why, no.Why)
	require.Nil(t, c.answer)
}

func requireMine(t *testing.T, c call) {
	t.Helper()
	require.NoError(t, c.err)
	require.Nil(t, c.answer)
}
