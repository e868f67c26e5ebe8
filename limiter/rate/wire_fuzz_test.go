package rate

import (
	"context"
	"testing"
	"time"

	"tollgate/config/unit"
)

// FuzzServeAsk gives a node whatever another may send. It must answer or refuse,
// and its rings must stay whole.
func FuzzServeAsk(f *testing.F) {
	for _, raw := range [][]byte{sampleAsk().encode(), encodeGather(sampleClaims()), samplePush(), (&encoder{}).finish(opPing), encodeLook([]uint64{1}), encodeRecall([]uint64{1, 78}), {}, {1}} {
		f.Add(raw)
	}
	now := time.Unix(1_700_000_000, 0)
	l := New(Config{Clock: unit.ClockFunc(func() time.Time { return now }), Peers: threeNodes("a")})
	f.Fuzz(func(t *testing.T, raw []byte) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _ = l.ServeAsk(ctx, "b", raw)
		whole(t, l)
	})
}

// FuzzHearCounts does the same with gossip.
func FuzzHearCounts(f *testing.F) {
	f.Add(sampleCounts(), uint64(1))
	now := time.Unix(1_700_000_000, 0)
	l := New(Config{Clock: unit.ClockFunc(func() time.Time { return now }), Peers: threeNodes("a")})
	f.Fuzz(func(t *testing.T, raw []byte, seq uint64) {
		l.HearCounts("b", 1, seq, raw)
		whole(t, l)
	})
}

// FuzzAnswers reads answers as an asker does.
func FuzzAnswers(f *testing.F) {
	f.Add(sampleReply().encode())
	f.Add(encodeKnown(sampleKnown()))
	f.Add(encodeLooked([]usage{{1, time.Second}}))
	f.Add(encodeHeld([]kept{{41, 3, 2}, {}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = decodeReply(raw, 3)
		_, _ = decodeLooked(raw, 2)
		_, _ = decodeHeld(raw, 2)
		if known, err := decodeKnown(raw, 3); err == nil {
			var r ring
			var d duty
			for _, k := range known {
				merge(&r, &d, k, time.Hour)
			}
		}
	})
}

func whole(t *testing.T, l *Limiter) {
	for i := range l.stripe {
		s := &l.stripe[i]
		if len(s.rings) != len(s.duties) || len(s.rings) != len(s.index) {
			t.Fatalf("%d rings, %d duties, %d known", len(s.rings), len(s.duties), len(s.index))
		}
		for j := range s.rings {
			sum := int64(0)
			for _, n := range s.rings[j].counts {
				sum += int64(n)
			}
			if s.duties[j].kind != Parallel && sum != s.rings[j].sum {
				t.Fatalf("ring of %d counts %d, says %d", s.rings[j].id, sum, s.rings[j].sum)
			}
		}
	}
}
