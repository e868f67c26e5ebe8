package rate

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Query is a limit to look up.
type Query struct {
	ID    uint64
	Kind  Kind
	Limit int64
}

// Standing is how a limit stands in the whole cluster.
type Standing struct {
	Left  int64
	Reset time.Duration // until it is wholly free
	// Known is false when not all nodes have answered: more may be used.
	Known bool
}

// Look asks all nodes how limits stand. It is for people and takes a round trip.
func (l *Limiter) Look(ctx context.Context, queries []Query) []Standing {
	out := make([]Standing, len(queries))
	if l.peers == nil {
		for i, q := range queries {
			out[i].Left, out[i].Reset = l.State(q.ID, q.Kind, q.Limit)
			out[i].Known = true
		}
		return out
	}
	ids := make([]uint64, len(queries))
	for i := range queries {
		ids[i] = queries[i].ID
	}
	o := l.outlook(l.elapsed())
	all := l.usage(ids)
	complete := true
	var mu sync.Mutex
	var calls sync.WaitGroup
	payload := encodeLook(ids)
	for i := range o.nodes {
		n := &o.nodes[i]
		if i == o.self {
			continue
		}
		if !n.seen {
			complete = false
			continue
		}
		calls.Go(func() {
			raw, err := l.call(ctx, l.line(n.at), payload, askWithin)
			var list []usage
			if err == nil {
				list, err = decodeLooked(raw, len(ids))
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				complete = false
				return
			}
			for j, u := range list {
				all[j].used += u.used
				all[j].reset = max(all[j].reset, u.reset)
			}
		})
	}
	calls.Wait()
	for i, q := range queries {
		out[i] = Standing{Left: max(0, q.Limit-all[i].used), Reset: all[i].reset, Known: complete}
	}
	return out
}

// usage is one node's part of what is used of a limit.
type usage struct {
	used  int64
	reset time.Duration
}

// usage counts what this node has granted, less what it knows to be unused, and
// what it has used without asking.
func (l *Limiter) usage(ids []uint64) []usage {
	t := instantAt(l.elapsed())
	out := make([]usage, len(ids))
	for i, id := range ids {
		s := l.of(id)
		s.mu.Lock()
		u := &out[i]
		ring, d := s.dutyOf(id)
		r := s.record(id)
		if ring != nil && d.role == granting && d.kind != Parallel {
			ring.advance(d.slot(t.elapsed))
			u.used, u.reset = ring.sum, ring.reset(d.clock(t.elapsed))
		}
		switch {
		case r == nil:
		case r.kind == Parallel:
			u.used += r.held
		default:
			share := r.share.sum(t.use)
			u.used += share - r.credit(t.at)
			if share > 0 {
				u.reset = max(u.reset, useSlots*useTime)
			}
		}
		s.mu.Unlock()
	}
	return out
}

func (l *Limiter) serveLook(d *decoder) ([]byte, error) {
	ids := make([]uint64, d.count(maxItems, 8))
	for i := range ids {
		ids[i] = d.id()
	}
	if d.err != nil {
		return nil, fmt.Errorf("read look at limits: %w", d.err)
	}
	return encodeLooked(l.usage(ids)), nil
}

func encodeLooked(list []usage) []byte {
	var e encoder
	e.int(int64(len(list)))
	for _, u := range list {
		// Unused credit may be more than this node's own use.
		e.int(max(0, u.used))
		e.int(max(0, -u.used))
		e.millis(u.reset)
	}
	return e.finish(opLooked)
}

func encodeLook(ids []uint64) []byte {
	var e encoder
	e.int(int64(len(ids)))
	for _, id := range ids {
		e.id(id)
	}
	return e.finish(opLook)
}

func decodeLooked(b []byte, n int) ([]usage, error) {
	d, err := openReply(b, opLooked)
	if err != nil {
		return nil, err
	}
	list := make([]usage, d.count(maxItems, 3))
	for i := range list {
		list[i].used = d.int() - d.int()
		list[i].reset = d.millis()
	}
	if d.err == nil && len(list) != n {
		d.fail(fmt.Errorf("%d answers to %d questions", len(list), n))
	}
	if d.err != nil {
		return nil, fmt.Errorf("read look at limits: %w", d.err)
	}
	return list, nil
}
