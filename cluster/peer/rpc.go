// Package peer is the cluster port of a node: one TCP port on which mutual TLS
// proves who speaks and the first bytes say what about (raft, calls, gossip,
// joining), and the UDP port of the same number for gossip packets. It knows
// who may speak, not what is said.
package peer

import (
	"context"
	"errors"
)

// ErrUnreached proves that the handler did not run: the node could not be
// dialled, refused the connection, or does not know the method.
var ErrUnreached = errors.New("node was not reached")

// Handler serves one method. from is the node id that the caller's certificate
// proves. What it returns may be kept by nobody: the request's bytes are reused.
type Handler func(ctx context.Context, from string, request []byte) (answer []byte, err error)

// Caller calls other nodes. The simulated network has one of its own.
type Caller interface {
	// Call asks a node and waits for the answer or the end of ctx. An *Error says
	// that the handler ran and refused; ErrUnreached proves that it did not run;
	// any other error proves nothing.
	Call(ctx context.Context, node, method string, request []byte) ([]byte, error)
}

// Registrar takes handlers. All are registered before the port serves.
type Registrar interface {
	Handle(method string, h Handler)
}

// Error is what a handler refused with, as it crosses the wire.
type Error struct {
	Code    string `json:"code"` // for programs: one of the handler's package
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"` // for programs: the leader's id, say
}

// Error is the sentence.
func (e *Error) Error() string { return e.Message }
