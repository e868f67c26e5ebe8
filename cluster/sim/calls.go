package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"tollgate/cluster/peer"
)

// handlers are what one run serves.
type handlers struct {
	mu sync.Mutex // guards by
	by map[string]peer.Handler
}

// Handle takes a handler.
func (h *handlers) Handle(method string, f peer.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[method] = f
}

func (h *handlers) find(method string) peer.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[method]
}

// caller calls from one run.
type caller struct{ life *Life }

type outcome struct {
	answer []byte
	err    error
}

// Call asks a node. Like the real port it proves what it can: into nothing is
// ErrUnreached, whatever breaks after the request was under way proves nothing.
func (c caller) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, unreached(node, method, err)
	}
	self, net := c.life.host.ID, c.life.host.net
	if c.life.over() {
		return nil, unreached(node, method, errors.New("this node has stopped"))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life.ctx, cancel)()
	d, arrives := net.hop(Calls, self, node)
	if !arrives {
		return nil, c.intoTheCut(ctx, node, method)
	}
	if !pause(ctx, d) {
		return nil, fmt.Errorf("call %s of node %s: %w", method, node, ctx.Err())
	}
	there := net.running(node)
	if there == nil {
		back, _ := net.hop(Calls, node, self)
		pause(ctx, back)
		return nil, unreached(node, method, errors.New("connection refused"))
	}
	handle := there.handlers.find(method)
	if handle == nil {
		return nil, unreached(node, method, errors.New("it does not know the method"))
	}
	done := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(there.ctx, cancel)()
		answer, err := handle(ctx, self, bytes.Clone(request))
		done <- outcome{bytes.Clone(answer), err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-there.ctx.Done():
		return nil, fmt.Errorf("call %s of node %s: %w", method, node, io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return nil, fmt.Errorf("call %s of node %s: %w", method, node, ctx.Err())
	}
	d, arrives = net.hop(Calls, node, self)
	if !arrives {
		// The connection proves dead after a while, or the caller gives up first.
		d = silence
	}
	if !pause(ctx, d) || !arrives {
		return nil, fmt.Errorf("call %s of node %s: connection lost: %w", method, node, errors.Join(errSilent, ctx.Err()))
	}
	var refused *peer.Error
	switch {
	case o.err == nil:
		return o.answer, nil
	case errors.As(o.err, &refused):
		return nil, fmt.Errorf("call %s of node %s: %w", method, node, refused)
	}
	return nil, fmt.Errorf("call %s of node %s: %s", method, node, o.err)
}

// intoTheCut is a call whose request gets lost. With no connection open the dial
// fails; on an open one the caller cannot know how far the request came.
func (c caller) intoTheCut(ctx context.Context, node, method string) error {
	if c.life.host.net.Chance(0.5) {
		pause(ctx, dialTimeout)
		return unreached(node, method, errSilent)
	}
	pause(ctx, silence)
	return fmt.Errorf("call %s of node %s: %w", method, node, errors.Join(errSilent, ctx.Err()))
}

func unreached(node, method string, err error) error {
	return fmt.Errorf("call %s of node %s: %w: %w", method, node, peer.ErrUnreached, err)
}
