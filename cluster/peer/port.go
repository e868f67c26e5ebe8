package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tollgate/config/unit"
)

// Config is what a port needs.
type Config struct {
	Addr      string // to listen on: HOST:PORT; port 0 finds one that is free for TCP and UDP
	Advertise string // HOST:PORT for other nodes; "" guesses from Addr and the machine's interfaces
	Book      *Book  // where the nodes are; nil makes an empty one

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Clock      unit.Clock            // nil: the machine's; for certificates and quiet times

	FirstBytes  time.Duration // until a connection has said what it is about; 0: 30 s
	DialTimeout time.Duration // of a connection to a node, hello included; 0: 10 s
	JoinTimeout time.Duration // of a whole join; 0: 2 min
	Ping        time.Duration // silence after which a connection for calls is asked whether it lives, and for the answer; 0: 3 s
	MaxPending  int           // connections of unproven strangers; 0: 256, of one address a quarter
	MaxJoining  int           // joins at a time; 0: 32, of one address a quarter
}

func (c Config) withDefaults() Config {
	if c.Book == nil {
		c.Book = NewBook()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	if c.FirstBytes <= 0 {
		c.FirstBytes = 30 * time.Second
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.JoinTimeout <= 0 {
		c.JoinTimeout = 2 * time.Minute
	}
	if c.Ping <= 0 {
		c.Ping = 3 * time.Second
	}
	if c.MaxPending <= 0 {
		c.MaxPending = 256
	}
	if c.MaxJoining <= 0 {
		c.MaxJoining = 32
	}
	return c
}

// Port is the cluster port of a node.
type Port struct {
	cfg       Config
	log       *slog.Logger
	m         *metrics
	talk      *RefusalLog
	book      *Book
	tcp       net.Listener
	udp       *net.UDPConn
	advertise string

	identity  atomic.Pointer[identity]
	ephemeral tls.Certificate
	unjoined  *identity // its configurations, while there is no identity
	allow     atomic.Pointer[func(id string) error]
	onRefused atomic.Pointer[func(node string, refused *Refused)]
	onJoin    atomic.Pointer[func(context.Context, *tls.Conn)]

	conns   *conns
	pending *pending
	joining *pending

	raft   *inbox
	gossip *gossip
	calls  *inbox

	handlers   handlers
	callClient *http.Transport

	closing sync.Once
}

var (
	_ Caller    = (*Port)(nil)
	_ Registrar = (*Port)(nil)
)

// Listen binds the port, TCP and UDP. Nothing is served before Run; what is left
// unserved is released by Close.
func Listen(cfg Config) (*Port, error) {
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	cert, err := ephemeral(cfg.Clock.Now())
	if err != nil {
		return nil, err
	}
	tcp, udp, err := bind(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on cluster port %s: %w", cfg.Addr, err)
	}
	advertise, err := advertised(cfg.Advertise, tcp.Addr().(*net.TCPAddr))
	if err != nil {
		_ = tcp.Close()
		_ = udp.Close()
		return nil, err
	}
	p := &Port{
		cfg: cfg, log: cfg.Logger, m: m, talk: NewRefusalLog(cfg.Logger, cfg.Clock), book: cfg.Book,
		tcp: tcp, udp: udp, advertise: advertise, ephemeral: cert,
		unjoined: &identity{server: unjoinedConfig(cert, cfg.Clock), join: joinConfig(cert, cfg.Clock)},
		conns:    newConns(m),
		pending:  newPending(cfg.MaxPending),
		joining:  newPending(cfg.MaxJoining),
		calls:    newInbox(tcp.Addr),
	}
	p.raft = newInbox(func() net.Addr { return nodeAddr(p.NodeID()) })
	p.gossip = newGossip(p)
	p.calls.taken.Store(true)
	p.callClient = p.newCallClient()
	return p, nil
}

// bind takes one number for TCP and UDP.
func bind(addr string) (net.Listener, *net.UDPConn, error) {
	const tries = 32
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	for try := 1; ; try++ {
		ln, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		at := ln.Addr().(*net.TCPAddr)
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
		if err == nil {
			// A burst of packets waits here while the scheduler is busy. The
			// kernel may give less.
			_ = udp.SetReadBuffer(2 << 20)
			return ln, udp, nil
		}
		_ = ln.Close()
		_, port, _ := net.SplitHostPort(addr)
		if port != "0" || try == tries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// keepAlive notices a node that lost its power within half a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// advertised is HOST:PORT by which other nodes reach this one.
func advertised(want string, at *net.TCPAddr) (string, error) {
	port := strconv.Itoa(at.Port)
	if want != "" {
		host, p, err := net.SplitHostPort(want)
		if err != nil {
			return "", fmt.Errorf("advertised address %q: %w", want, err)
		}
		if host == "" {
			return "", fmt.Errorf("advertised address %q has no host", want)
		}
		if p == "" || p == "0" {
			p = port
		}
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return "", fmt.Errorf("advertised address %q: port is not a number", want)
		}
		return net.JoinHostPort(host, p), nil
	}
	if !at.IP.IsUnspecified() {
		return net.JoinHostPort(at.IP.String(), port), nil
	}
	return net.JoinHostPort(ownIP().String(), port), nil
}

// ownIP is the first address of this machine that others can reach, IPv4 first;
// loopback when there is none.
func ownIP() net.IP {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return net.IPv4(127, 0, 0, 1)
	}
	var six net.IP
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if v4 := n.IP.To4(); v4 != nil {
			return v4
		}
		if six == nil {
			six = n.IP
		}
	}
	if six != nil {
		return six
	}
	return net.IPv4(127, 0, 0, 1)
}

// Addr is where the port listens.
func (p *Port) Addr() string { return p.tcp.Addr().String() }

// Advertise is HOST:PORT by which other nodes reach this one.
func (p *Port) Advertise() string { return p.advertise }

// Book is where the port looks nodes up.
func (p *Port) Book() *Book { return p.book }

// NodeID is the id of the present identity, "" while there is none.
func (p *Port) NodeID() string {
	if id := p.identity.Load(); id != nil {
		return id.NodeID
	}
	return ""
}

// SetIdentity says who this node is. It may come after Run has begun and again:
// new handshakes use the new identity, and what is open stays open unless the
// cluster, the generation or the node is another.
func (p *Port) SetIdentity(id Identity) error {
	next, err := newIdentity(id, p.cfg.Clock)
	if err != nil {
		return fmt.Errorf("set identity: %w", err)
	}
	last := p.identity.Swap(next)
	if last != nil && (last.ClusterID != next.ClusterID || last.Generation != next.Generation || last.NodeID != next.NodeID) {
		for _, c := range p.conns.list(func(*conn) bool { return false }) {
			c.cut()
		}
	}
	return nil
}

// SetAllow sets the hook that is asked about each node, on connections in both
// directions, once its certificate is verified. A *Refused names its own
// reason. Without a hook every node of the authority is allowed.
//
// The hook must also allow whom this node knew before it could read the applied
// state (raft's configuration, the last known members): nodes that all start
// anew need each other's votes before any of them has applied anything.
func (p *Port) SetAllow(allow func(id string) error) { p.allow.Store(&allow) }

func (p *Port) allowed(id string) *Refused {
	allow := p.allow.Load()
	if allow == nil || *allow == nil {
		return nil
	}
	err := (*allow)(id)
	if err == nil {
		return nil
	}
	var r *Refused
	if errors.As(err, &r) {
		return r
	}
	return &Refused{ReasonNotMember, err.Error()}
}

// OnRefused sets who hears that another node does not take this one: it was
// forgotten, or missed a recovery. One node may be mistaken for a moment (its
// state lags); a majority is not. The hook must not block.
func (p *Port) OnRefused(hear func(node string, refused *Refused)) { p.onRefused.Store(&hear) }

func (p *Port) heard(node string, refused *Refused) {
	if hear := p.onRefused.Load(); hear != nil && *hear != nil {
		(*hear)(node, refused)
	}
}

// OnJoin sets who serves newcomers. The connection is closed when serve returns,
// and its time is bounded. Nobody has been verified.
func (p *Port) OnJoin(serve func(ctx context.Context, c *tls.Conn)) { p.onJoin.Store(&serve) }

// Run serves until ctx ends. When it returns, both sockets and every connection
// are closed.
func (p *Port) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()

	var wg sync.WaitGroup
	wg.Go(func() { p.gossip.read() })
	wg.Go(func() { p.serveCalls(ctx) })
	err := p.accept(ctx, &wg)
	cancel()
	_ = p.Close()
	wg.Wait()
	p.handlers.wait(p.log)
	return err
}

// Close releases the sockets and cuts every connection. Run's end does the same.
func (p *Port) Close() error {
	p.closing.Do(func() {
		_ = p.tcp.Close()
		_ = p.udp.Close()
		p.conns.shut()
		_ = p.raft.Close()
		_ = p.calls.Close()
		_ = p.gossip.Shutdown()
		p.callClient.CloseIdleConnections()
	})
	return nil
}
