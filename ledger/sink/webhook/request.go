package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tollgate/ledger/reader"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/store"
)

// refusal is an answer that speaks of the content, not of the moment.
type refusal struct{ error }

// send makes one request of the entries.
func (s *Sink) send(ctx context.Context, entries []*store.Entry) error {
	body, err := s.body(entries)
	if err != nil {
		return &refusal{err} // no repetition composes it better
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return errors.New("make request: the endpoint is no address")
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	if s.cfg.Format == NDJSON {
		h.Set("Content-Type", "application/x-ndjson")
	}
	if s.cfg.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if s.cfg.Agent != "" {
		h.Set("User-Agent", s.cfg.Agent)
	}
	h.Set("Idempotency-Key", fmt.Sprintf("%s-%x-%x-%d", s.cfg.Node, entries[0].Seq, entries[len(entries)-1].Seq, len(entries)))
	for name, v := range s.cfg.Headers {
		h.Set(name, v)
		if strings.EqualFold(name, "Host") {
			req.Host = v
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		// The error names the address, which is often a secret.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("send: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil // the answer's text does not matter, whether whole or not
	}
	if err != nil {
		said = nil
	}
	return judge(resp, said)
}

// maxAnswer is how much of an answer is read, maxSaid how much of it is told.
const (
	maxAnswer = 64 << 10
	maxSaid   = 200
)

// judge tells what an answer that is no success means.
func judge(resp *http.Response, said []byte) error {
	err := fmt.Errorf("answered with status %d", resp.StatusCode)
	if text := strings.Join(strings.Fields(strings.ToValidUTF8(string(said[:min(len(said), maxSaid)]), "")), " "); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		// Other 4xx speak of keys and addresses: no entry is to blame for them.
		return &refusal{err}
	case http.StatusTooManyRequests:
		return &reader.Later{After: retryAfter(resp.Header), Err: err}
	case http.StatusServiceUnavailable:
		if after := retryAfter(resp.Header); after > 0 {
			return &reader.Later{After: after, Err: err}
		}
	}
	return err
}

// retryAfter reads seconds or a date; 0 when there is neither. A date counts
// from the answer's own, since clocks differ.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		if n > 0 && n < 1e6 {
			return time.Duration(n * float64(time.Second))
		}
		return 0
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}

func (s *Sink) body(entries []*store.Entry) ([]byte, error) {
	var out bytes.Buffer
	var w io.Writer = &out
	var zip *gzip.Writer
	if s.cfg.Gzip {
		zip = gzip.NewWriter(&out)
		w = zip
	}
	open, between, end := "", "", ""
	switch s.cfg.Format {
	case JSONArray:
		open, between, end = "[", ",", "]"
	case NDJSON:
		between, end = "\n", "\n"
	}
	parts := make([]string, 0, 2*len(entries)+1)
	parts = append(parts, open)
	for i, e := range entries {
		r, err := payload.Of(e, s.cfg.Options(e))
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		if i > 0 {
			parts = append(parts, between)
		}
		parts = append(parts, string(b))
	}
	parts = append(parts, end)
	for _, p := range parts {
		if _, err := io.WriteString(w, p); err != nil {
			return nil, fmt.Errorf("compress records: %w", err)
		}
	}
	if zip != nil {
		if err := zip.Close(); err != nil {
			return nil, fmt.Errorf("compress records: %w", err)
		}
	}
	return out.Bytes(), nil
}

const mostRedirects = 5

// sameHost follows a redirect only to where the headers, with their keys, may
// go, and only as the request that it was.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > mostRedirects:
		return errors.New("too many redirects")
	case req.URL.Host != first.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirected to another host, which is not followed")
	case req.Method != first.Method:
		return http.ErrUseLastResponse
	}
	return nil
}

// transport has connections and timeouts of its own: a receiver that hangs must
// not take those of model calls.
func transport(private bool) *http.Transport {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !private {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err == nil && ap.Addr().Unmap().IsLinkLocalUnicast() {
				return errors.New("link-local addresses are not called without allow_private")
			}
			return nil
		}
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: d.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConns: 4, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
}
