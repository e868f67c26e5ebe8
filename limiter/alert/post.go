package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Post is one message to one address.
type Post struct {
	Way  string // webhook or slack, for the log
	URL  string
	Body []byte
}

// Poster sends messages one after the other, in the background.
type Poster struct {
	log    *slog.Logger
	client *http.Client
	queue  chan Post
	pause  time.Duration // before the second attempt; four times as long before the third
}

// What a poster waits for, holds and tries.
const (
	postWithin = 10 * time.Second
	postQueue  = 256
	postTries  = 3
)

// NewPoster makes a Poster; a nil client is one of its own. pause 0 is a second.
func NewPoster(log *slog.Logger, client *http.Client, pause time.Duration) *Poster {
	if client == nil {
		client = &http.Client{Timeout: postWithin}
	}
	if pause <= 0 {
		pause = time.Second
	}
	return &Poster{log: log, client: client, queue: make(chan Post, postQueue), pause: pause}
}

// Put queues a message. It never waits: what finds the queue full is dropped,
// and the log says so.
func (p *Poster) Put(m Post) {
	select {
	case p.queue <- m:
	default:
		p.log.Error("alert not sent: too many are waiting", "way", m.Way)
	}
}

// Run sends until ctx ends.
func (p *Poster) Run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-p.queue:
			if err := p.send(ctx, m); err != nil && ctx.Err() == nil {
				p.log.Error("alert not sent", "way", m.Way, "error", err)
			}
		}
	}
}

func (p *Poster) send(ctx context.Context, m Post) (err error) {
	wait := p.pause
	for try := range postTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			wait *= 4
		}
		if err = p.once(ctx, m); err == nil {
			return nil
		}
	}
	return err
}

func (p *Poster) once(ctx context.Context, m Post) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return errors.New("the address is no URL") // what it is may be a secret
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		// The error names the address, which is often a secret.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4096)
	if resp.StatusCode >= 300 {
		return fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	return nil
}
