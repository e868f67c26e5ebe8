package reader_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// Whatever a receiver does, each entry is delivered or among the dead letters,
// and what the receiver wants is delivered, in order but for repetitions.
func TestNothingIsLostWhateverTheReceiverDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		dir, err := os.MkdirTemp(t.TempDir(), "")
		require.NoError(t, err)
		synctest.Test(t, func(t *testing.T) { faults(t, dir, seed) })
	})
}

func faults(t *testing.T, dir string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	refuses := map[uint64]bool{} // by the low part of the number
	for range rng.IntN(4) {
		refuses[rng.Uint64N(60)+1] = true
	}
	s := &receiver{}
	its := rand.New(rand.NewPCG(seed, 2)) // the receiver runs beside the test
	s.fault = func(_ int, batch []*store.Entry) error {
		time.Sleep(time.Duration(its.Int64N(int64(3 * time.Second))))
		switch its.IntN(6) {
		case 0:
			return errAway
		case 1:
			return &reader.Later{After: time.Duration(its.Int64N(int64(time.Minute))), Err: errAway}
		case 2: // taken, and the answer is lost
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, e := range batch {
				if !refuses[e.Seq&0xffff] {
					s.took = append(s.took, e.Seq)
				}
			}
			return errors.New("closed early")
		}
		no := map[uint64]error{}
		for _, e := range batch {
			if refuses[e.Seq&0xffff] {
				no[e.Seq] = fmt.Errorf("refused")
			}
		}
		if len(no) > 0 {
			return &reader.Rejected{Entries: no}
		}
		return nil
	}
	var all []uint64
	for run := range 3 { // starts of the node
		l := open(t, dir)
		cfg := reader.Config{MaxEntries: 1 + rng.IntN(12), Linger: time.Duration(rng.Int64N(int64(5 * time.Second))), MinPause: time.Millisecond, MaxPause: time.Second}
		r := reader.New(l, "r", s, cfg)
		stop := start(t, r)
		for range rng.IntN(25) {
			all = append(all, book(t, l, 1))
			time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
		}
		if run == 2 {
			last := l.LastSeq()
			until(t, 24*time.Hour, func() bool { return r.Stats().Position >= last })
		}
		stop()
		if run == 2 {
			got := map[uint64]bool{}
			for _, seq := range s.seen() {
				got[seq] = true
			}
			dead := map[uint64]bool{}
			for d, err := range l.Dead("r") {
				require.NoError(t, err)
				dead[d.Seq] = true
			}
			for _, seq := range all {
				require.True(t, got[seq] || dead[seq], "entry %x is lost", seq)
				require.Equal(t, refuses[seq&0xffff], dead[seq] && !got[seq], "entry %x", seq)
			}
		}
		require.NoError(t, l.Close())
	}
	// In order: the first time that an entry is seen, all before it have been.
	high := uint64(0)
	for _, seq := range s.seen() {
		if seq > high {
			for _, a := range all {
				if a > high && a < seq && !refuses[a&0xffff] {
					t.Fatalf("entry %x came before %x", seq, a)
				}
			}
			high = seq
		}
	}
}
