package once

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// inFlight bounds the proposals under way: a far leader must not hold up the
	// next key for a whole round trip, and more would be smaller.
	inFlight = 8
	// mostOps bounds one proposal.
	mostOps = 1000
	// mostReleases bounds the keys to be given back while there is no leader.
	mostReleases = 1 << 16
	// releaseEvery is how often those are tried again.
	releaseEvery = time.Second
)

// asked is an operation on its way.
type asked struct {
	op   Op
	told Told
	err  error
	done chan struct{} // closed with told or err; nil for a release: nobody waits
}

// queue holds what is to be proposed next.
type queue struct {
	kicked chan struct{} // holds one when something waits
	slots  chan struct{} // one for each proposal under way

	mu    sync.Mutex // guards what follows
	next  []*asked
	again []*asked // releases that were not agreed on
	over  bool
}

func newQueue() queue {
	return queue{kicked: make(chan struct{}, 1), slots: make(chan struct{}, inFlight)}
}

var errStopping = errors.New("claim a key: this node is stopping")

func (q *queue) add(a *asked) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return false
	}
	q.next = append(q.next, a)
	q.kick()
	return true
}

func (q *queue) kick() {
	select {
	case q.kicked <- struct{}{}:
	default:
	}
}

func (q *queue) take() []*asked {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.next), mostOps)
	batch := q.next[:n:n]
	if q.next = q.next[n:]; len(q.next) == 0 {
		q.next = nil
	} else {
		q.kick()
	}
	return batch
}

// Run proposes what calls ask for, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	q := &d.queue
	var flying sync.WaitGroup
	defer flying.Wait()
	defer q.stop()
	tick := time.NewTicker(releaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			q.retry()
			continue
		case <-q.kicked:
		}
		// A slot first: whoever comes while all proposals are under way joins the
		// next one.
		select {
		case <-ctx.Done():
			return nil
		case q.slots <- struct{}{}:
		}
		runtime.Gosched() // let those come who are about to
		batch := q.take()
		if len(batch) == 0 {
			<-q.slots
			continue
		}
		flying.Go(func() {
			d.send(ctx, batch)
			<-q.slots
		})
	}
}

// retry puts releases back that were not agreed on.
func (q *queue) retry() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.again) > 0 {
		q.next = append(q.next, q.again...)
		q.again = nil
		q.kick()
	}
}

// stop answers all who wait.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	for _, a := range q.next {
		if a.done != nil {
			a.err = errStopping
			close(a.done)
		}
	}
	q.next, q.again = nil, nil
}

func (d *Desk) send(ctx context.Context, batch []*asked) {
	c := Command{Node: d.cfg.Node, Incarnation: d.cfg.Incarnation, Ops: make([]Op, len(batch))}
	for i, a := range batch {
		c.Ops[i] = a.op
	}
	within, end := context.WithTimeout(ctx, d.cfg.Within)
	answer, err := d.agree(within, &c)
	end()
	switch {
	case err != nil:
	case answer.Err != nil:
		err = answer.Err
	case len(answer.Told) != len(batch):
		err = fmt.Errorf("%d answers to %d operations", len(answer.Told), len(batch))
	}
	for i, a := range batch {
		if err == nil {
			a.told = answer.Told[i]
		} else {
			a.err = fmt.Errorf("claim a key: %w", err)
		}
		if a.done != nil {
			close(a.done)
			continue
		}
		d.released(a)
	}
}

// propose has one operation applied. An error leaves open whether it was, or will be.
func (d *Desk) propose(ctx context.Context, op Op) (Told, error) {
	a := &asked{op: op, done: make(chan struct{})}
	if !d.queue.add(a) {
		return Told{}, errStopping
	}
	select {
	case <-a.done:
		return a.told, a.err
	case <-ctx.Done():
		return Told{}, fmt.Errorf("claim a key: %w", ctx.Err())
	}
}

// release gives a key back without waiting.
func (d *Desk) release(id ID, call CallID) {
	d.queue.add(&asked{op: Op{Kind: Release, ID: id, Call: call}})
}

// released ends what is remembered of a call whose key was given back. Not agreed
// on, it is tried again.
func (d *Desk) released(a *asked) {
	switch {
	case a.err == nil:
		d.counts.released.Add(1)
		d.remember(a.op.Call)
	default:
		a.err = nil
		q := &d.queue
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.again) < mostReleases && !q.over {
			q.again = append(q.again, a)
			return
		}
		// Too many, or too late: its key holds, and this node says for as long as it
		// remembers that it is free.
		d.remember(a.op.Call)
	}
}
