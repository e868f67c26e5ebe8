package network

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// maxQueued bounds the packets under way in one direction: as a router's buffer,
// it is full when somebody sends faster than the rate for long.
const maxQueued = 4096

// condition is how one direction of a pair fares.
type condition struct {
	delay   time.Duration
	loss    float64
	rate    int // bytes a second; 0 is unlimited
	cut     bool
	blocked []Match
}

// link is one direction between two hosts. Packets arrive in the order they were
// sent: TCP takes reordering for loss.
type link struct {
	deliver func([]byte)
	wake    chan struct{} // holds one token when the queue's head may have changed
	done    chan struct{}
	ended   chan struct{}

	mu     sync.Mutex // guards the fields below
	cond   condition
	random *rand.Rand
	queue  []timed
	free   time.Time // when the wire has sent what it was given
	last   time.Time // when the newest packet arrives
	lost   int
}

type timed struct {
	at     time.Time
	packet []byte
}

func newLink(seed uint64, from, to *Host) *link {
	h := fnv.New64a()
	h.Write([]byte(from.name + "\x00" + to.name)) // a hash never fails
	l := &link{
		deliver: to.write, wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, h.Sum64())),
	}
	go l.run()
	return l
}

func (l *link) change(f func(*condition)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.cond)
}

func (l *link) dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// send takes a packet over; it is not copied.
func (l *link) send(packet []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drops(packet) || len(l.queue) >= maxQueued {
		l.lost++
		return
	}
	sent := now
	if l.cond.rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		l.free = l.free.Add(time.Duration(len(packet)) * time.Second / time.Duration(l.cond.rate))
		sent = l.free
	}
	at := sent.Add(l.cond.delay)
	if at.Before(l.last) { // the delay has just become shorter
		at = l.last
	}
	l.last = at
	l.queue = append(l.queue, timed{at, packet})
	if len(l.queue) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *link) drops(packet []byte) bool {
	if l.cond.cut {
		return true
	}
	for _, m := range l.cond.blocked {
		if m.Matches(packet) {
			return true
		}
	}
	return l.cond.loss > 0 && l.random.Float64() < l.cond.loss
}

// run hands out each packet when its time has come.
func (l *link) run() {
	defer close(l.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ready, wait := l.due(time.Now())
		for _, p := range ready {
			l.deliver(p.packet)
		}
		if len(ready) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-l.done:
			return
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// due takes what has arrived out of the queue, or says how long to wait. A cut
// also takes what is under way: a wire that is cut delivers nothing.
func (l *link) due(now time.Time) (ready []timed, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cond.cut {
		l.lost += len(l.queue)
		l.queue = nil
	}
	n := 0
	for n < len(l.queue) && !l.queue[n].at.After(now) {
		n++
	}
	if n == 0 {
		if len(l.queue) == 0 {
			return nil, time.Hour
		}
		return nil, l.queue[0].at.Sub(now)
	}
	ready, l.queue = l.queue[:n:n], l.queue[n:]
	return ready, 0
}

func (l *link) close() {
	close(l.done)
	<-l.ended
}
