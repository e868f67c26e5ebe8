package server

import (
	"net"

	"tollgate/proxy/call"
)

// Conn is a client connection as the listener hands it out.
type Conn interface {
	net.Conn
	call.Connection
}

// Watched makes the connections of a listener watched ones.
func Watched(ln net.Listener) net.Listener {
	return &watchedListener{Listener: ln, open: &connections{}}
}

// DecodeBody undoes a request body's content coding.
var DecodeBody = decodeBody
