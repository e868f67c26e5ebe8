package upstream_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

// scripted is a connection that says what it was told to, in pieces, and takes
// whatever it is sent.
type scripted struct {
	net.Conn
	said  []byte
	piece int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.said)
	s.said = s.said[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

func FuzzAnswer(f *testing.F) {
	for _, a := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 31\r\n\r\n" + compressed("gzip", "hello"),
		"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nTransfer-Encoding: chunked\r\n\r\n" + "12\r\n" + compressed("zstd", "hello") + "\r\n0\r\n\r\n",
		"HTTP/1.1 204 X\r\n\r\n",
	} {
		f.Add([]byte(a), uint16(1))
		f.Add([]byte(a), uint16(4096))
	}
	f.Fuzz(func(t *testing.T, answer []byte, piece uint16) {
		read := func(piece int, wait bool) (status int, body string, failed bool) {
			up := upstream.New(upstream.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
				return &scripted{said: answer, piece: piece}, nil
			}})
			defer up.Close()
			x, err := up.Start(&provider.Request{Method: "POST", URL: "http://x.test/"}, upstream.Options{}, nil)
			if err != nil {
				return 0, "", true
			}
			defer x.Close()
			var got []byte
			if wait {
				got, err = io.ReadAll(io.LimitReader(awaited{x}, 1<<20))
			} else {
				got, err = x.ReadAll(nil, 1<<20)
			}
			if err == nil && len(got) > 1<<20 {
				t.Fatalf("%d bytes were let through", len(got))
			}
			return x.Status(), string(got), err != nil
		}
		s1, b1, f1 := read(int(piece)%4096+1, piece%2 == 0)
		s2, b2, f2 := read(1<<20, false)
		if f1 != f2 || !f1 && (s1 != s2 || b1 != b2) {
			t.Fatalf("in pieces of %d: %d %q %v; at once: %d %q %v", int(piece)%4096+1, s1, b1, f1, s2, b2, f2)
		}
	})
}
