package reader

import (
	"context"
	"fmt"
	"time"
)

// linger lets a batch grow until it is full or its time has come.
func (w *walk) linger(ctx context.Context) {
	if w.cfg.Linger == 0 {
		return
	}
	last := w.l.LastSeq()
	n, _, err := w.l.Pending(w.pos, last)
	if err != nil || n >= uint64(w.cfg.MaxEntries) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Linger)
	defer cancel()
	if !w.sleeps(cancel, func() bool { return w.urgent > w.pos }) {
		return
	}
	defer w.awake()
	// Nothing to do with an error: it says that the time is up.
	_ = w.l.Wait(ctx, last+uint64(w.cfg.MaxEntries)-n-1)
}

// pause waits after a fault, unless somebody asks for an attempt now.
func (r *Reader) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if !r.sleeps(cancel, func() bool { return r.nudged }) {
		return
	}
	defer r.awake()
	var back <-chan struct{}
	if s, ok := r.sink.(Returning); ok {
		back = s.Back()
	}
	select {
	case <-ctx.Done():
	case <-back:
		// Nodes whose sink went away together hear of it together.
		wait(ctx, time.Duration(r.cfg.Rand()*float64(r.cfg.MinPause)))
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// sleeps lets Flush end the wait that begins now; it is false when there is no
// time to wait.
func (r *Reader) sleeps(wake context.CancelFunc, hurry func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hurry() {
		r.nudged = false
		return false
	}
	r.wake = wake
	return true
}

func (r *Reader) awake() {
	r.mu.Lock()
	r.wake, r.nudged = nil, false
	r.mu.Unlock()
}

// Flush delivers at once what is committed now, without waiting for a batch to
// fill or a pause to end. It returns nil when the sink has it, the fault of an
// attempt made for it, or the context's error.
func (r *Reader) Flush(ctx context.Context) error {
	target := r.l.LastSeq()
	r.mu.Lock()
	before := r.started
	r.urgent = max(r.urgent, target)
	if r.wake != nil {
		r.wake()
	} else if r.pos < target {
		r.nudged = true
	}
	for {
		pos, failed, err, phase, ch := r.pos, r.failed, r.lastErr, r.phase, r.changed
		r.mu.Unlock()
		switch {
		case phase != fresh && pos >= target:
			return nil
		case phase == ended:
			return fmt.Errorf("flush reader %s: %w", r.name, ErrEnded)
		case failed > before && err != nil:
			return fmt.Errorf("flush reader %s: %w", r.name, err)
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("flush reader %s: %w", r.name, ctx.Err())
		}
		r.mu.Lock()
	}
}
