package rate

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// recallWithin bounds how long an ask is held while idle slots are called back;
// who comes from far is waited for in a later ask.
const recallWithin = 150 * time.Millisecond

// kept is what a node keeps of its parallel slots of a limit. It counts as an
// ask of that number: whichever of two words is the later holds.
type kept struct {
	seq  uint64 // 0: an ask is under way, which says it
	inc  uint32
	hold uint32
}

// lent tells whether nodes other than two hold slots of a limit, and answer.
func (l *Limiter) lent(s *stripe, id uint64, but, me uint16) bool {
	for at, ln := range *l.lines.Load() {
		if n := uint16(at); n != but && n != me && !ln.lost.Load() && s.entries[entryKey{id, n}].granted > 0 {
			return true
		}
	}
	return false
}

// recall asks the nodes that hold parallel slots for those they do not use, on
// behalf of one that is short. Slots would be idle for seconds else, while calls
// elsewhere are refused.
func (l *Limiter) recall(ctx context.Context, ids []uint64, asker uint16, within time.Duration) {
	if len(ids) == 0 {
		return
	}
	began := l.elapsed()
	me := l.number(l.peers.View().Self)
	by := map[uint16][]uint64{}
	for _, id := range ids {
		s := l.of(id)
		s.mu.Lock()
		for at, ln := range *l.lines.Load() {
			if n := uint16(at); n != asker && n != me && !ln.lost.Load() && s.entries[entryKey{id, n}].granted > 0 {
				by[n] = append(by[n], id)
			}
		}
		s.mu.Unlock()
	}
	l.stats.recalls.Add(1)
	var all sync.WaitGroup
	var busy sync.Map // limits whose slots an ask under way still tells to be in use
	for at, ids := range by {
		all.Go(func() {
			// It goes on when the ask has been answered: the next one finds it done.
			raw, err := l.call(context.WithoutCancel(ctx), l.line(at), encodeRecall(ids), askWithin)
			if err != nil {
				return
			}
			list, err := decodeHeld(raw, len(ids))
			if err != nil {
				return
			}
			for i, id := range ids {
				if l.returned(id, at, &list[i]); list[i].seq == 0 {
					busy.Store(id, true)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		now := l.elapsed()
		until := stampAt(now).plus(refusalLife)
		if took := now - began; took > recallWithin {
			until = until.plus(2 * took) // until those who had to leave have asked again
		}
		for _, id := range ids {
			s := l.of(id)
			s.mu.Lock()
			if _, again := busy.Load(id); again {
				s.mu.Unlock()
				continue
			}
			if _, d := s.dutyOf(id); d != nil {
				d.recalled = until
			}
			s.mu.Unlock()
		}
		close(done)
	}()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// returned notes what a node has kept.
func (l *Limiter) returned(id uint64, at uint16, x *kept) {
	s := l.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	ring, d := s.dutyOf(id)
	k := entryKey{id, at}
	e, ok := s.entries[k]
	if ring == nil || d.role != granting || d.kind != Parallel || !ok || e.inc != x.inc || x.seq <= e.seq {
		return
	}
	if x.hold < e.granted {
		ring.sum -= int64(e.granted - x.hold)
		e.granted = x.hold
	}
	e.seq = x.seq
	s.entries[k] = e
}

// serveRecall gives up slots that this node does not use.
func (l *Limiter) serveRecall(d *decoder) ([]byte, error) {
	ids := make([]uint64, d.count(maxItems, 8))
	for i := range ids {
		ids[i] = d.id()
	}
	if d.err != nil {
		return nil, fmt.Errorf("read recall of slots: %w", d.err)
	}
	t := instantAt(l.elapsed())
	o := l.outlook(t.elapsed)
	inc := uint32(0)
	if o.self >= 0 {
		inc = o.nodes[o.self].inc
	}
	list := make([]kept, len(ids))
	for i, id := range ids {
		list[i] = l.yieldIdle(o, id, inc, t)
	}
	return encodeHeld(list), nil
}

func (l *Limiter) yieldIdle(o *outlook, id uint64, inc uint32, t instant) kept {
	s := l.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.record(id)
	switch {
	case r == nil:
		return kept{seq: l.seq.Add(1), inc: inc}
	case r.flight != 0 || r.kind != Parallel:
		return kept{}
	}
	r.pool[0].units = uint32(min(max(0, r.held-o.shares.mine(r.limit)), full))
	r.peak = uint32(min(max(0, r.held), full))
	return kept{l.seq.Add(1), inc, r.pool[0].units}
}

func encodeRecall(ids []uint64) []byte {
	var e encoder
	e.int(int64(len(ids)))
	for _, id := range ids {
		e.id(id)
	}
	return e.finish(opRecall)
}

func encodeHeld(list []kept) []byte {
	var e encoder
	e.int(int64(len(list)))
	for _, x := range list {
		e.uint(x.seq)
		e.uint(uint64(x.inc))
		e.uint(uint64(x.hold))
	}
	return e.finish(opHeld)
}

func decodeHeld(b []byte, n int) ([]kept, error) {
	d, err := openReply(b, opHeld)
	if err != nil {
		return nil, err
	}
	list := make([]kept, d.count(maxItems, 3))
	for i := range list {
		list[i] = kept{d.uint(), d.uint32(), d.uint32()}
	}
	if d.err == nil && len(list) != n {
		d.fail(fmt.Errorf("%d answers to %d recalls", len(list), n))
	}
	if d.err != nil {
		return nil, fmt.Errorf("read slots that were kept: %w", d.err)
	}
	return list, nil
}
