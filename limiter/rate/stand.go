package rate

import (
	"context"
	"sync"
	"time"
)

// stand answers for a node that does not answer. A broken path is not a dead
// owner: first this node and another try to reach it.
func (l *Limiter) stand(ctx context.Context, o *outlook, lost *line, m *askMessage) *askReply {
	now := l.elapsed()
	if !lost.lost.Load() || now-time.Duration(lost.sure.Load()) > sureFor || lost.sure.Load() == 0 {
		reply, sure := l.reach(ctx, o, lost, m)
		if reply != nil || !sure {
			return reply
		}
		if l.speaks(lost, now) {
			return nil
		}
		l.lose(lost)
		if lost.sure.Swap(int64(max(1, l.elapsed()))) == 0 {
			l.stats.takeovers.Add(1)
		}
		o = l.outlook(l.elapsed())
	}
	return l.grantAll(ctx, o, m, lost)
}

// speaks tells whether a node that has not answered was heard all the same while
// it was tried: it is there and slow, and goes on granting. Whoever tells of
// itself and answers nothing for longer is cut off in one direction.
func (l *Limiter) speaks(ln *line, since time.Duration) bool {
	answered := time.Duration(ln.vouched.Load())
	return time.Duration(ln.last.Load()) >= since && answered > 0 && l.elapsed()-answered < waitSlow
}

// reach tries to get an ask to a node on two paths. Without an answer it says
// whether two nodes have found that there is none.
func (l *Limiter) reach(ctx context.Context, o *outlook, to *line, m *askMessage) (reply *askReply, sure bool) {
	third := -1
	for i := range o.nodes {
		if n := &o.nodes[i]; i != o.self && n.alive && n.at != to.at && n.id != m.origin && !l.line(n.at).lost.Load() {
			third = i
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answers := make(chan *askReply, 2)
	confirmed := make(chan bool, 1)
	var both sync.WaitGroup
	both.Go(func() {
		if raw, err := l.relay(ctx, to, m, min(askWithin, relayWithin+2*to.trip())); err == nil {
			if r, err := decodeReply(raw, len(m.items)); err == nil {
				answers <- r
			}
		}
	})
	if third >= 0 {
		both.Go(func() {
			on := *m
			on.mode, on.owner = relay, to.node
			raw, err := l.call(ctx, l.line(o.nodes[third].at), on.encode(), askWithin)
			if err != nil {
				return
			}
			if r, err := decodeReply(raw, len(m.items)); err == nil && !r.unreached() {
				answers <- r
			} else if err == nil {
				confirmed <- true
			}
		})
	}
	done := make(chan struct{})
	go func() { both.Wait(); close(done) }()
	select {
	case r := <-answers:
		cancel()
		<-done
		l.stats.relayed.Add(1)
		return r, false
	case <-done:
	}
	select {
	case r := <-answers:
		return r, false
	default:
	}
	select {
	case sure = <-confirmed:
	default:
	}
	return nil, sure || m.origin != o.src.Self
}
