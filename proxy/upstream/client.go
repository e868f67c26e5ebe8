// Package upstream carries requests to providers over HTTP/1.1: pooled
// connections, deadlines for the first byte and between bytes, cancellation
// from any goroutine by closing the connection, bodies read as they come. It
// knows nothing of dialects, models or money, follows no redirects and adds no
// headers of its own but framing.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"tollgate/proxy/provider"
)

// Config bounds the client.
type Config struct {
	DialTimeout time.Duration // 0: 10 s
	IdleTimeout time.Duration // how long a connection may rest in the pool; 0: 45 s
	MaxIdle     int           // connections kept per host; 0: 512
	MaxHeader   int           // most bytes of response header; 0: 64 KiB
	TLS         *tls.Config   // nil: the system's roots
	// Dial replaces the network, for tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// WithDefaults fills what was left zero.
func (c Config) WithDefaults() Config {
	if c.DialTimeout == 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 45 * time.Second
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = 512
	}
	if c.MaxHeader == 0 {
		c.MaxHeader = 64 << 10
	}
	if c.Dial == nil {
		d := &net.Dialer{Timeout: c.DialTimeout, KeepAlive: 30 * time.Second}
		c.Dial = d.DialContext
	}
	return c
}

// Client is a set of connection pools, one per host.
type Client struct {
	cfg   Config
	mu    sync.RWMutex // guards hosts
	hosts map[string]*host
}

// New makes a client. It opens nothing.
func New(cfg Config) *Client {
	return &Client{cfg: cfg.WithDefaults(), hosts: make(map[string]*host)}
}

// ErrCanceled is returned when Cancel ended the exchange.
var ErrCanceled = errors.New("canceled")

// ErrTimeout is wrapped when the provider was silent for too long.
var ErrTimeout = errors.New("provider timed out")

// ErrTooLarge is returned when an answer passes the limit given.
var ErrTooLarge = errors.New("answer too large")

// target is where one URL leads.
type target struct {
	addr   string // host:port
	host   string // Host header
	server string // TLS server name; "" for plain http
	path   string
}

func parseTarget(raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("provider address %q: %w", raw, err)
	}
	t := target{host: u.Host, path: u.RequestURI()}
	port := u.Port()
	switch u.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
	case "https":
		t.server = u.Hostname()
		if port == "" {
			port = "443"
		}
	default:
		return target{}, fmt.Errorf("provider address %q: want http:// or https://", raw)
	}
	if u.Hostname() == "" {
		return target{}, fmt.Errorf("provider address %q has no host", raw)
	}
	t.addr = net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// split finds the target of a URL without parsing it anew each time: the part
// before the path names a host that is looked up in a map.
func (c *Client) split(raw string) (*host, string, error) {
	i := strings.Index(raw, "://")
	if i < 0 {
		_, err := parseTarget(raw)
		return nil, "", err
	}
	// The path may hold a model name that a client has sent: it must not end the
	// request line and begin another request.
	for j := range len(raw) {
		if raw[j] <= ' ' || raw[j] == 0x7f {
			return nil, "", fmt.Errorf("provider address %q: a space or control character at %d", raw, j)
		}
	}
	cut := len(raw)
	if j := strings.IndexAny(raw[i+3:], "/?#"); j >= 0 {
		cut = i + 3 + j
	}
	c.mu.RLock()
	h := c.hosts[raw[:cut]]
	c.mu.RUnlock()
	if h == nil {
		t, err := parseTarget(raw)
		if err != nil {
			return nil, "", err
		}
		h = c.addHost(strings.Clone(raw[:cut]), t)
	}
	path := raw[cut:]
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	if k := strings.IndexByte(path, '#'); k >= 0 {
		path = path[:k]
	}
	return h, path, nil
}

func (c *Client) addHost(key string, t target) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[key]; h != nil {
		return h
	}
	h := &host{client: c, target: t}
	c.hosts[key] = h
	return h
}

// Close drops all idle connections; those still in use are dropped when they
// come back.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.close()
	}
}

// Options of one exchange. Zero durations mean no limit.
type Options struct {
	FirstByte time.Duration // until the response header is complete
	Idle      time.Duration // between bytes of the body
	Deadline  time.Time     // of the whole exchange; zero: none
}

// Start sends a request and reads the response header. A connection that the
// provider had closed while it rested in the pool is replaced once, at once:
// nothing of the request can have been acted upon. ready, when not nil, is given
// the exchange before anything is sent, so that another goroutine can Cancel it.
func (c *Client) Start(req *provider.Request, o Options, ready func(*Exchange)) (*Exchange, error) {
	h, path, err := c.split(req.URL)
	if err != nil {
		return nil, err
	}
	x := &Exchange{opts: o}
	if ready != nil {
		ready(x)
	}
	for {
		reused, err := x.attach(h)
		if err == nil {
			err = x.roundTrip(h, path, req)
			if err == nil {
				return x, nil
			}
		}
		stale := reused && x.nothingReceived && !x.canceled.Load() && !errors.Is(err, ErrTimeout)
		x.dropConn()
		if stale {
			h.drain() // its neighbours rested as long
			continue
		}
		switch {
		case x.canceled.Load():
			err = ErrCanceled
		case !o.Deadline.IsZero() && !time.Now().Before(o.Deadline) && !errors.Is(err, ErrTimeout):
			err = fmt.Errorf("%w: %w", ErrTimeout, err) // while it was dialled
		}
		return nil, err
	}
}
