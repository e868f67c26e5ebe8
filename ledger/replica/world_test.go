package replica_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

var errAway = errors.New("nobody there")

func callID(owner, n uint64) (id store.CallID) {
	binary.BigEndian.PutUint64(id[:], owner)
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

// entry is a finished call; intent is the same call while it is in flight.
func entry(owner, n uint64) *store.Entry {
	return &store.Entry{
		CallID: callID(owner, n), RequestID: fmt.Sprintf("chatcmpl-%d-%d", owner, n), CallType: "acompletion", Status: store.Success,
		Start: time.Now(), End: time.Now(), Key: "key-1", User: "u-1", Team: "t-1", Group: "gpt-4o", Model: "openai/gpt-4o", Provider: "openai",
		Metadata: []byte(`{"trace":"x"}`), IP: "10.0.0.9",
		Usage: price.Usage{InUncached: 10, OutTotal: 5, Known: true}, Cost: price.Cost{Total: unit.Money(1000 + n), Priced: true},
		Charges:  []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: "key-1"}, Window: 86400}},
		Messages: []byte(`[{"role":"user","content":"hello"}]`),
	}
}

func intent(owner, n uint64) *store.Intent {
	return &store.Intent{CallID: callID(owner, n), At: time.Now(), Max: 5_000_000, Key: "key-1", User: "u-1", Team: "t-1", Group: "gpt-4o", CallType: "acompletion",
		Charges: []store.Charge{{Scope: model.Scope{Dim: model.DimKey, ID: "key-1"}, Window: 86400}}}
}

// network carries messages between nodes, or does not.
type network struct {
	mu      sync.Mutex // guards all below
	keepers map[string]*replica.Keeper
	down    map[string]bool
	fault   func(to string, payload []byte) (before, after error)
	sent    int
}

func (n *network) call(from string) replica.Call {
	return func(ctx context.Context, to string, payload []byte) ([]byte, error) {
		n.mu.Lock()
		k, down, fault := n.keepers[to], n.down[to] || n.down[from], n.fault
		n.sent++
		n.mu.Unlock()
		var before, after error
		if fault != nil {
			before, after = fault(to, payload)
		}
		if k == nil || down {
			before = errAway
		}
		if before != nil {
			return nil, before
		}
		// The caller's bytes are reused once it has its answer.
		payload = append([]byte(nil), payload...)
		answer, err := k.Serve(ctx, from, payload)
		if err != nil || after != nil {
			return nil, errors.Join(err, after)
		}
		return answer, nil
	}
}

func (n *network) set(fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fn()
}

func openLedger(t testing.TB, dir string) *store.Ledger {
	t.Helper()
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1, Sync: store.SyncNone})
	require.NoError(t, err)
	return l
}

func openKeeper(t testing.TB, cfg replica.KeeperConfig) *replica.Keeper {
	t.Helper()
	k, err := replica.NewKeeper(cfg)
	require.NoError(t, err)
	return k
}

// warm makes what compresses bodies outside of virtual time: all tests share it.
var warm = sync.OnceFunc(func() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1, Sync: store.SyncNone})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	e := entry(1, 1)
	if _, err := l.Settle(store.Ref{}, e); err != nil {
		panic(err)
	}
	if err := l.LoadBodies(e); err != nil {
		panic(err)
	}
})

// virtual runs a test in virtual time with a folder.
func virtual(t *testing.T, fn func(t *testing.T, dir string)) {
	warm()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { fn(t, dir) })
}

// run runs something until stop.
func run(t testing.TB, fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	var once sync.Once
	return func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
}

func until(t testing.TB, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		require.True(t, time.Now().Before(end), "not within %v", within)
		time.Sleep(10 * time.Millisecond)
	}
}

// book settles calls n to m of an owner.
func book(t testing.TB, l *store.Ledger, owner, from, to uint64) {
	t.Helper()
	for n := from; n <= to; n++ {
		_, err := l.Settle(store.Ref{}, entry(owner, n))
		require.NoError(t, err)
	}
}

// seqsOf are the numbers of the entries in a copy, read from its folder's ledger.
func seqsOf(t testing.TB, k *replica.Keeper, book string) []uint64 {
	t.Helper()
	var out []uint64
	for _, e := range entriesOf(t, k, book) {
		out = append(out, e.Seq)
	}
	return out
}

func entriesOf(t testing.TB, k *replica.Keeper, book string) []*store.Entry {
	t.Helper()
	l := replica.LedgerOf(k, book)
	if l == nil {
		return nil
	}
	var out []*store.Entry
	for e, err := range l.Entries(0) {
		require.NoError(t, err)
		out = append(out, e)
	}
	return out
}

func stateOf(k *replica.Keeper, book string) (replica.State, bool) {
	for _, s := range k.States() {
		if s.Book == book {
			return s, true
		}
	}
	return replica.State{}, false
}

func folder(t testing.TB, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	return dir
}

func view(self string, members ...replica.Member) func() replica.View {
	return func() replica.View { return replica.View{Self: self, Members: members} }
}
