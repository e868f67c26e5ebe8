package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// In the kill test this binary runs itself: the child books calls as fast as it
// can and says so on its standard output until it is killed.
const childDir = "TOLLGATE_LEDGER_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := runChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A message of the child: what happened to which call.
const (
	begun   = 'b' // its intent is durable
	settled = 's' // its settlement is
)

func runChild(dir string) error {
	base, err := strconv.ParseUint(os.Getenv("TOLLGATE_LEDGER_CHILD_BASE"), 10, 64)
	if err != nil {
		return err
	}
	l, err := store.Open(store.Config{Dir: dir, Ballast: -1, Sync: store.Mode(os.Getenv("TOLLGATE_LEDGER_CHILD_MODE"))})
	if err != nil {
		return err
	}
	var next atomic.Uint64
	next.Store(base)
	go func() { _ = l.Run(context.Background()) }()
	say := func(what byte, n uint64) error {
		// One small write to a pipe is whole or not there.
		_, err := os.Stdout.Write(binary.BigEndian.AppendUint64([]byte{what}, n))
		return err
	}
	fail := make(chan error, 16)
	for range 16 {
		go func() {
			for {
				n := next.Add(1)
				ref, err := l.Begin(sampleIntent(n))
				if err == nil {
					err = say(begun, n)
				}
				if err == nil {
					_, err = l.Settle(ref, sampleEntry(n))
				}
				if err == nil {
					err = say(settled, n)
				}
				if err != nil {
					fail <- err
					return
				}
			}
		}()
	}
	return <-fail
}

func TestKilledProcessLosesAndDoublesNothing(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	for _, mode := range []store.Mode{store.SyncProcess, store.SyncAlways} {
		t.Run(string(mode), func(t *testing.T) { killLoop(t, mode, kills) })
	}
}

func killLoop(t *testing.T, mode store.Mode, kills int) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked, open := map[uint64]bool{}, map[uint64]bool{}
	for k := range kills {
		b, s := runAndKill(t, dir, mode, uint64(k+1)<<32, rng)
		for n := range b {
			open[n] = true
		}
		for n := range s {
			delete(open, n)
			acked[n] = true
		}
	}
	require.NotEmpty(t, acked)

	l := openIndexed(t, dir)
	seen := map[uint64]store.Entry{}
	for e, err := range l.Entries(0) {
		require.NoError(t, err)
		n := binary.BigEndian.Uint64(e.CallID[8:])
		if _, twice := seen[n]; twice {
			t.Fatalf("call %d is booked twice", n)
		}
		seen[n] = *e
	}
	for n := range acked {
		e, ok := seen[n]
		if !ok {
			t.Fatalf("call %d was acknowledged and is gone", n)
		}
		if e.Status != store.Success {
			t.Fatalf("call %d was acknowledged and is booked as %s", n, e.Status)
		}
	}
	charged := 0
	for n := range open {
		// Begun, but the settlement was not acknowledged: it is booked either
		// way, and at its maximum when it was open.
		e, ok := seen[n]
		if !ok {
			t.Fatalf("call %d was begun and has no row", n)
		}
		if e.Status == store.Interrupted {
			charged++
			require.Equal(t, unit.Dollar/4, e.Cost.Total)
		}
	}
	var sum store.Sums
	for _, s := range l.Rollups(store.ByCaller, 0, 1<<20) {
		sum.Add(s)
	}
	require.NoError(t, l.CatchUp())
	t.Logf("%d kills: %d calls acknowledged, %d begun only, %d of them charged at maximum", kills, len(acked), len(open), charged)
	require.Equal(t, int64(len(seen)), sum.Requests)
}

func openIndexed(t *testing.T, dir string) *store.Ledger {
	l := open(t, store.Config{Dir: dir})
	require.NoError(t, l.CatchUp())
	return l
}

func runAndKill(t *testing.T, dir string, mode store.Mode, base uint64, rng *rand.Rand) (b, s map[uint64]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, "TOLLGATE_LEDGER_CHILD_BASE="+strconv.FormatUint(base, 10),
		"TOLLGATE_LEDGER_CHILD_MODE="+string(mode))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b, s = map[uint64]bool{}, map[uint64]bool{}
	limit := 1 + rng.IntN(4000)
	r := bufio.NewReaderSize(out, 1<<16)
	msg := make([]byte, 9)
	for i := 0; ; i++ {
		if i == limit {
			_ = cmd.Process.Kill()
		}
		if _, err := io.ReadFull(r, msg); err != nil {
			break // the pipe ends with the child; what it said before is still read
		}
		n := binary.BigEndian.Uint64(msg[1:])
		if msg[0] == begun {
			b[n] = true
		} else {
			s[n] = true
		}
	}
	require.GreaterOrEqual(t, len(b)+len(s), limit, "the child ended by itself")
	_ = cmd.Wait()
	return b, s
}
