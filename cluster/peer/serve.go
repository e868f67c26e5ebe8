package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// pending bounds the connections of those who have not proven anything, in all
// and for one address, so that one stranger cannot keep the others out.
type pending struct {
	max, maxOf int

	mu sync.Mutex // guards all below
	n  int
	of map[string]int
}

func newPending(most int) *pending {
	return &pending{max: most, maxOf: max(1, most/4), of: map[string]int{}}
}

func (p *pending) enter(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n >= p.max || p.of[host] >= p.maxOf {
		return false
	}
	p.n++
	p.of[host]++
	return true
}

func (p *pending) leave(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
	if p.of[host]--; p.of[host] == 0 {
		delete(p.of, host)
	}
}

// accept takes connections until the port closes.
func (p *Port) accept(ctx context.Context, wg *sync.WaitGroup) error {
	for wait := time.Duration(0); ; {
		raw, err := p.tcp.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: others will close theirs.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			p.talk.Warn("cluster port cannot accept", "", reasonTooMany, "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			continue
		}
		wait = 0
		host := HostOf(raw.RemoteAddr())
		if !p.pending.enter(host) {
			p.refuse(raw, host, reasonTooMany, "too many connections that have not proven who they are")
			_ = raw.Close()
			continue
		}
		wg.Go(func() {
			leave := sync.OnceFunc(func() { p.pending.leave(host) })
			defer leave()
			p.serve(ctx, raw, host, leave)
		})
	}
}

// serve finds out who is there and what about, and hands the connection on.
// proven is called as soon as it no longer counts as a stranger's.
func (p *Port) serve(ctx context.Context, raw net.Conn, host string, proven func()) {
	if !p.conns.hold(raw) {
		_ = raw.Close()
		return
	}
	defer p.conns.release(raw)
	_ = raw.SetDeadline(time.Now().Add(p.cfg.FirstBytes))

	id := p.identity.Load()
	who := id
	if who == nil {
		who = p.unjoined
	}
	t := tls.Server(raw, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(h.SupportedProtos, protocolJoin) {
			return who.join, nil
		}
		return who.server, nil
	}})
	if err := t.HandshakeContext(ctx); err != nil {
		if ctx.Err() == nil {
			reason, text := stranger(err)
			p.refuse(raw, host, reason, text)
		}
		linger(raw)
		return
	}
	state := t.ConnectionState()
	if state.NegotiatedProtocol == protocolJoin {
		proven() // bounded by the slots of its own
		p.serveJoin(ctx, raw, t, host)
		return
	}
	if id == nil || len(state.PeerCertificates) == 0 {
		// A node came before this one has joined; its own side says so.
		p.refuse(raw, host, ReasonNotServing, "this node has not joined a cluster yet")
		linger(raw)
		return
	}
	node, err := nodeOf(state.PeerCertificates[0])
	if err != nil {
		p.refuse(raw, host, reasonCertificate, err.Error())
		linger(raw)
		return
	}
	h, err := readHello(t)
	if err != nil {
		var newer newerHello
		if errors.As(err, &newer) {
			p.refuseNode(t, raw, node, &Refused{ReasonNewerProtocol, err.Error()})
			return
		}
		p.refuse(raw, host, reasonHello, err.Error())
		linger(raw)
		return
	}
	box, refused := p.judge(id, node, h)
	if refused != nil {
		if refused.Reason == ReasonStaleServer {
			p.heard(node, refused)
		}
		p.refuseNode(t, raw, node, refused)
		return
	}
	c := &conn{Conn: t, raw: raw, node: node, kind: h.kind}
	if !p.conns.add(c) {
		_ = raw.Close()
		return
	}
	// Somebody may have changed the answer between the question and the
	// entry in the list that Recheck reads.
	if refused := p.allowed(node); refused != nil {
		p.refuseNode(t, raw, node, refused)
		c.cut()
		return
	}
	proven()
	if err := writeStatus(t, nil); err != nil {
		c.cut()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	if !box.put(c) {
		c.cut()
	}
}

// judge says where a connection goes, or why nowhere.
func (p *Port) judge(id *identity, node string, h hello) (*inbox, *Refused) {
	if h.cluster != id.ClusterID {
		return nil, &Refused{ReasonOtherCluster, fmt.Sprintf("node %s is of cluster %s, this node of cluster %s", node, h.cluster, id.ClusterID)}
	}
	if h.generation < id.Generation {
		return nil, &Refused{ReasonOldGeneration, fmt.Sprintf(
			"node %s is of generation %d, the cluster of generation %d: it was recovered since: remove DATA/raft and DATA/cluster and join again", node, h.generation, id.Generation)}
	}
	if h.generation > id.Generation {
		return nil, &Refused{ReasonStaleServer, fmt.Sprintf(
			"node %s is of generation %d, that of node %s is %d: the cluster was recovered since: remove DATA/raft and DATA/cluster and join again", id.NodeID, id.Generation, node, h.generation)}
	}
	if refused := p.allowed(node); refused != nil {
		return nil, refused
	}
	var box *inbox
	switch h.kind {
	case kindRaft:
		box = p.raft
	case kindCall:
		box = p.calls
	case kindGossip:
		box = p.gossip.streams
	default:
		return nil, &Refused{ReasonNotServing, fmt.Sprintf("node %s does not know connections of kind %q: it is of an older release", id.NodeID, byte(h.kind))}
	}
	if !box.serving() {
		return nil, &Refused{ReasonNotServing, fmt.Sprintf("node %s does not serve %s yet, or no longer", id.NodeID, h.kind)}
	}
	return box, nil
}

func (p *Port) serveJoin(ctx context.Context, raw net.Conn, t *tls.Conn, host string) {
	serve := p.onJoin.Load()
	if serve == nil || *serve == nil {
		p.refuse(raw, host, ReasonNotServing, "this node does not take newcomers yet")
		_ = t.Close()
		return
	}
	if !p.joining.enter(host) {
		p.refuse(raw, host, reasonTooMany, "too many joins at a time")
		_ = t.Close()
		return
	}
	defer p.joining.leave(host)
	gauge := p.m.connections.WithLabelValues("join", "in")
	gauge.Inc()
	defer gauge.Dec()
	_ = raw.SetDeadline(time.Now().Add(p.cfg.JoinTimeout))
	ctx, cancel := context.WithTimeout(ctx, p.cfg.JoinTimeout)
	defer cancel()
	(*serve)(ctx, t)
	_ = t.Close()
}

// refuse logs and counts a stranger.
func (p *Port) refuse(raw net.Conn, host string, reason Reason, text string) {
	p.m.refusals.WithLabelValues(string(reason)).Inc()
	if reason == reasonSilent {
		// Balancers and probes look whether the port is open, all day long.
		p.log.Debug("connection refused", "from", raw.RemoteAddr(), "reason", string(reason), "error", text)
		return
	}
	p.talk.Warn("connection refused", host, reason, "from", raw.RemoteAddr(), "error", text)
}

// refuseNode tells a proven node why it is refused, in the words that are logged.
func (p *Port) refuseNode(t *tls.Conn, raw net.Conn, node string, refused *Refused) {
	p.m.refusals.WithLabelValues(string(refused.Reason)).Inc()
	if refused.Reason == ReasonNotServing {
		p.log.Debug("node refused", "node", node, "from", raw.RemoteAddr(), "reason", string(refused.Reason), "error", refused)
	} else {
		p.talk.Warn("node refused", node, refused.Reason, "node", node, "from", raw.RemoteAddr(), "error", refused)
	}
	_ = writeStatus(t, refused)
	linger(raw)
}

// linger closes a refused connection so that the other side can still read why:
// closing with its bytes unread would reset the connection under the answer.
func linger(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
		_ = raw.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, raw, 64<<10)
	}
	_ = raw.Close()
}

// stranger says why a handshake came to nothing.
func stranger(err error) (Reason, string) {
	var (
		record    tls.RecordHeaderError
		unknown   x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		verifying *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
		return reasonSilent, "nothing that makes sense came in time: " + err.Error()
	case errors.As(err, &record):
		return reasonNotTLS, "not a TLS connection"
	case errors.As(err, &unknown):
		return reasonCertificate, "certificate is not of this cluster's authority"
	case errors.As(err, &invalid), errors.As(err, &verifying):
		return reasonCertificate, err.Error()
	}
	return reasonHandshake, err.Error()
}
