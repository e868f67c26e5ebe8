// Package webhook delivers finished calls to an HTTP endpoint as LiteLLM's
// generic_api callback does: batches of records as a JSON array, as lines, or
// one request each. It judges what an answer means for the batch; when to try
// again is the reader's business.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tollgate/ledger/reader"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/store"
)

// Format is how a batch is put into requests.
type Format string

// The formats of log_format.
const (
	JSONArray Format = "json_array"
	NDJSON    Format = "ndjson"
	Single    Format = "single"
)

// Config says where and how.
type Config struct {
	Endpoint string
	Headers  map[string]string
	Format   Format        // default JSONArray
	Gzip     bool          // compress the requests' bodies
	Timeout  time.Duration // of one request, default 30 s
	Options  func(*store.Entry) payload.Options
	// Node is this node's id: part of the key that tells a repetition.
	Node string
	// Agent is what requests call themselves.
	Agent string
	// AllowPrivate lets the endpoint be in link-local ranges, where machines
	// keep their credentials.
	AllowPrivate bool
	// Transport replaces the own one; redirects are judged all the same.
	Transport http.RoundTripper
}

// Sink is a reader's sink. It repeats nothing by itself.
type Sink struct {
	cfg    Config
	client *http.Client

	mu sync.Mutex // guards all below
	// streak counts entries refused one after the other while none was taken.
	streak int
	// part holds what of a batch in parts was taken before a fault, so that its
	// repetition sends only the rest.
	part map[uint64]bool
}

var _ reader.Sink = (*Sink)(nil)

// New makes a Sink; the address is checked, not called.
func New(cfg Config) (*Sink, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the endpoint is no http or https address") // it may hold a secret, so it is not shown
	}
	if cfg.Format == "" {
		cfg.Format = JSONArray
	}
	switch cfg.Format {
	case JSONArray, NDJSON, Single:
	default:
		return nil, fmt.Errorf("log format %q: want json_array, ndjson or single", cfg.Format)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Options == nil {
		cfg.Options = func(*store.Entry) payload.Options { return payload.Options{} }
	}
	for name, v := range cfg.Headers {
		if name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(v, "\r\n") {
			return nil, fmt.Errorf("header %q is not one that can be sent", name)
		}
	}
	if cfg.Transport == nil {
		cfg.Transport = transport(cfg.AllowPrivate)
	}
	return &Sink{cfg: cfg, part: map[uint64]bool{}, client: &http.Client{
		Timeout: cfg.Timeout, Transport: cfg.Transport, CheckRedirect: sameHost,
	}}, nil
}

// Close ends idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// mostRefused is how many entries in a row may be refused before the fault is
// taken to be the receiver's or the configuration's: then nothing more is put
// aside, and all waits until something is taken.
const mostRefused = 3

// Deliver sends a batch. A receiver that refuses a batch for its content gets
// it in halves, until the entries it will not have stand alone.
func (s *Sink) Deliver(ctx context.Context, batch []*store.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := map[uint64]error{}
	var err error
	if s.cfg.Format == Single {
		for _, e := range batch {
			if err = s.halves(ctx, []*store.Entry{e}, refused); err != nil {
				break
			}
		}
	} else {
		err = s.halves(ctx, batch, refused)
	}
	if err != nil {
		return err
	}
	clear(s.part)
	if len(refused) > 0 {
		return &reader.Rejected{Entries: refused}
	}
	return nil
}

// halves sends what of the entries is not taken yet and looks for those that
// are refused. Its error is passing.
func (s *Sink) halves(ctx context.Context, entries []*store.Entry, refused map[uint64]error) error {
	todo := make([]*store.Entry, 0, len(entries))
	for _, e := range entries {
		if !s.part[e.Seq] {
			todo = append(todo, e)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	err := s.send(ctx, todo)
	var no *refusal
	switch {
	case err == nil:
		s.streak = 0
		for _, e := range todo {
			s.part[e.Seq] = true
		}
		return nil
	case !errors.As(err, &no):
		return err
	case len(todo) == 1:
		if s.streak >= mostRefused {
			return fmt.Errorf("everything is refused: %w", no.error)
		}
		s.streak++
		refused[todo[0].Seq] = no.error
		return nil
	}
	if err := s.halves(ctx, todo[:len(todo)/2], refused); err != nil {
		return err
	}
	return s.halves(ctx, todo[len(todo)/2:], refused)
}
