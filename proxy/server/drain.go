package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// A node that is to go must not be missed by anybody. It says so first (its
// readiness is off, every answer closes its connection) and goes on serving
// whatever still comes; only when balancers have had time to look elsewhere,
// nothing runs and nothing has come for a moment, it closes idle connections
// and, last, the listener.

const (
	// quietTime without a request shows that nobody sends any more.
	quietTime = 300 * time.Millisecond
	// lateTime is the most of the drain time that is kept for calls which come to
	// the very end because somebody never looks at readiness: a closed listener
	// is what such a balancer understands, and it costs it nothing, since a call
	// whose connection was refused can be sent elsewhere.
	lateTime = 5 * time.Second
	// deafAfter is how many times the notice may pass, when what was in flight is
	// done and calls still come, until whoever sends them is taken for one that
	// does not look.
	deafAfter = 3
	// drainLook is how often a leaving node looks whether it may go.
	drainLook = 10 * time.Millisecond
)

// draining is whether and since when the node wants no new work. The zero value
// is a node that does.
type draining struct {
	since   atomic.Int64 // nanoseconds; 0: it takes work
	leaving atomic.Bool  // it stops: draining does not end any more
	arrived atomic.Int64 // nanoseconds, of the last request while draining
}

// set begins draining or ends it.
func (d *draining) set(on bool) {
	if on {
		d.since.CompareAndSwap(0, time.Now().UnixNano())
		return
	}
	if d.leaving.Load() {
		return
	}
	d.since.Store(0)
	if d.leaving.Load() { // it began to stop just then, and found draining begun
		d.set(true)
	}
}

func (d *draining) on() bool { return d.since.Load() != 0 }

// note takes down that a request came.
func (d *draining) note() {
	if d.on() {
		d.arrived.Store(time.Now().UnixNano())
	}
}

// lasts is how long the node has been draining, quiet how long no request came.
func (d *draining) lasts(now time.Time) (lasts, quiet time.Duration) {
	since := d.since.Load()
	return time.Duration(now.UnixNano() - since), time.Duration(now.UnixNano() - max(since, d.arrived.Load()))
}

// SetDraining begins or ends draining: readiness is off and every answer asks
// its client to connect anew, but everything is still served.
func (s *Server) SetDraining(on bool) { s.drain.set(on) }

// Draining reports whether the node wants no new work.
func (s *Server) Draining() bool { return s.drain.on() }

// Run serves ln until ctx ends; then it drains: new calls are served until
// Notice has passed, calls in flight are done and nobody calls any more, within
// the time that drain gives. What runs after that is cut.
func (s *Server) Run(ctx context.Context, ln net.Listener, drain time.Duration) error {
	front := &watchedListener{Listener: ln, open: &s.open}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(front) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.drain.leaving.Store(true)
	s.drain.set(true)
	end := time.Now().Add(drain)
	if s.Notice != nil {
		if notice := s.Notice(); notice > 0 {
			s.serveOn(notice, end.Add(-min(drain/4, lateTime)))
			s.open.hangUp()
			if front.finish() {
				<-served
			}
		}
	}
	limit, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	err := s.http.ShutdownWithContext(limit)
	// An end that comes before Serve has begun finds no listener to close, and Serve
	// would then wait at it for ever.
	_ = ln.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		s.Logger.Warn("calls cut at the end of the drain time", "in_flight", s.Calls.InFlight())
		return nil
	}
	return err
}

// serveOn goes on serving until the node is no longer missed, at most until the
// time given.
func (s *Server) serveOn(notice time.Duration, until time.Time) {
	s.Logger.Info("draining: new calls are still taken", "notice", notice, "in_flight", s.Calls.InFlight())
	look := time.NewTicker(drainLook)
	defer look.Stop()
	// What was in flight at the beginning is done when these have been idle once.
	first := s.open.active()
	for now := time.Now(); now.Before(until); now = time.Now() {
		lasts, quiet := s.drain.lasts(now)
		first = s.open.still(first)
		switch {
		case lasts < notice || len(first) > 0:
		case quiet >= min(quietTime, notice) && s.Calls.InFlight() == 0 && len(s.open.active()) == 0:
			return
		case lasts >= deafAfter*notice:
			until = now
		}
		<-look.C
	}
	s.Logger.Warn("draining: calls still come although the node is not ready", "in_flight", s.Calls.InFlight())
}
