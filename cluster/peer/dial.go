package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// errNoIdentity is a dial before this node has joined.
var errNoIdentity = errors.New("this node has no certificate of the cluster yet")

// dialError is a connection that did not come about: nothing was asked on it.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dialNode connects to a node by the address in the book.
func (p *Port) dialNode(ctx context.Context, k kind, node string) (*conn, error) {
	addr, ok := p.book.Lookup(node)
	if !ok {
		return nil, &dialError{fmt.Errorf("dial node %s: no address of it is known", node)}
	}
	return p.dial(ctx, k, node, addr)
}

// dial connects to addr and proves that node is there; any member when node is
// empty. What a refusing node says is in the error, as a *Refused.
func (p *Port) dial(ctx context.Context, k kind, node, addr string) (*conn, error) {
	at := "node " + node + " at " + addr
	if node == "" {
		at = addr
	}
	id := p.identity.Load()
	if id == nil {
		return nil, &dialError{fmt.Errorf("dial %s: %w", at, errNoIdentity)}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &dialError{fmt.Errorf("dial %s: %w", at, err)}
	}
	c, err := p.greet(ctx, id, k, node, raw)
	if err == nil {
		return c, nil
	}
	_ = raw.Close()
	var refused *Refused
	var alert *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Reason == ReasonNotServing: // it is starting
	case errors.As(err, &refused):
		p.talk.Warn("connection to node refused", addr, refused.Reason, "node", node, "addr", addr, "error", refused)
	case errors.As(err, &alert) && alert.Op == "remote error":
		err = fmt.Errorf("it does not take this node's certificate, which ends %s: %w", id.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339), err)
		p.talk.Warn("connection to node refused", addr, reasonCertificate, "node", node, "addr", addr, "error", err)
	}
	return nil, &dialError{fmt.Errorf("dial %s: %w", at, err)}
}

// greet does the handshake and the first words.
func (p *Port) greet(ctx context.Context, id *identity, k kind, node string, raw net.Conn) (*conn, error) {
	// The context's end cuts the words short, too.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	t := tls.Client(raw, id.client(node, p.cfg.Clock))
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := t.ConnectionState()
	there, err := nodeOf(state.PeerCertificates[0])
	if err != nil {
		return nil, err
	}
	if state.NegotiatedProtocol != protocolPeer {
		return nil, fmt.Errorf("it does not speak %s", protocolPeer)
	}
	if refused := p.allowed(there); refused != nil {
		return nil, refused
	}
	h := hello{kind: k, generation: id.Generation, cluster: id.ClusterID}
	_, wrote := t.Write(h.append(make([]byte, 0, 16+len(h.cluster))))
	// Also when the write broke: the reason may have come already.
	if err := readStatus(t); err != nil {
		var refused *Refused
		if errors.As(err, &refused) {
			p.heard(there, refused)
		} else if wrote != nil {
			err = fmt.Errorf("send hello: %w: %w", wrote, err)
		}
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	c := &conn{Conn: t, raw: raw, node: there, kind: k, dialled: true}
	if !p.conns.add(c) {
		return nil, net.ErrClosed
	}
	if refused := p.allowed(there); refused != nil { // as in serve
		c.cut()
		return nil, refused
	}
	return c, nil
}

// DialJoin connects to any node as a newcomer. Nobody is verified: the caller
// checks the chain that the node showed, or proves a secret bound to the
// session, before it says anything else.
func (p *Port) DialJoin(ctx context.Context, addr string) (*tls.Conn, error) {
	return DialJoin(ctx, addr)
}

// DialJoin is the Port's, for who has no port.
func DialJoin(ctx context.Context, addr string) (*tls.Conn, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{KeepAliveConfig: keepAlive},
		Config:    &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{protocolJoin}},
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s to join: %w", addr, err)
	}
	t := c.(*tls.Conn)
	if t.ConnectionState().NegotiatedProtocol != protocolJoin {
		_ = t.Close()
		return nil, fmt.Errorf("dial %s to join: it is not the cluster port of a node", addr)
	}
	return t, nil
}
