// Package fake is a provider that does as it is told: it speaks the exact
// framing of OpenAI's and Anthropic's APIs on a loopback port, and orders in the
// prompt make it fail in every way that real providers do. It keeps what it
// received for assertions. It checks no keys and no limits of its own.
package fake

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is one fake provider. OpenAI's API stands under OpenAI(), Anthropic's
// under Anthropic().
type Server struct {
	http  *httptest.Server
	count atomic.Int64
	ids   atomic.Int64
	// refusing is for how many seconds callers are told to stay away; 0: not.
	refusing atomic.Int64
	failing  atomic.Int64 // the status of every answer; 0: as each call wants
	standing atomic.Pointer[orders]

	mu       sync.Mutex // guards the fields below
	received []*Request
	waiting  int // calls that wait because of slow=
	most     int // of waiting, ever
}

// Request is one request as it arrived.
type Request struct {
	Path    string
	Header  http.Header
	Body    []byte
	Arrived time.Time
	// Gone is closed when the caller has left before the answer was complete.
	Gone chan struct{}

	ended bool // guarded by the server's mu
}

// Start runs a fake until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.ReadHeaderTimeout = 30 * time.Second
	s.http.Start()
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// StartOn runs a fake on a listener of the caller's, until the test ends.
func StartOn(t testing.TB, ln net.Listener) *Server {
	t.Helper()
	s := &Server{}
	srv := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 30 * time.Second}
	s.http = &httptest.Server{Listener: ln, Config: srv} // Start fills in the URL
	s.http.Start()
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// OpenAI is the api_base of the OpenAI API.
func (s *Server) OpenAI() string { return s.http.URL + "/v1" }

// Anthropic is the api_base of the Anthropic API.
func (s *Server) Anthropic() string { return s.http.URL }

// Count is the number of model calls that have arrived.
func (s *Server) Count() int { return int(s.count.Load()) }

// Received returns what has arrived, oldest first.
func (s *Server) Received() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Request(nil), s.received...)
}

// Last is the newest request whose body contains mark, or nil.
func (s *Server) Last(mark string) *Request {
	all := s.Received()
	for i := len(all) - 1; i >= 0; i-- {
		if strings.Contains(string(all[i].Body), mark) {
			return all[i]
		}
	}
	return nil
}

// With is how many of the requests that contain mark have arrived, and how many
// of these are not answered yet.
func (s *Server) With(mark string) (arrived, inFlight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.received {
		if !strings.Contains(string(r.Body), mark) {
			continue
		}
		arrived++
		if !r.ended {
			inFlight++
		}
	}
	return arrived, inFlight
}

// Hangup closes every connection, as a provider does with idle ones.
func (s *Server) Hangup() { s.http.CloseClientConnections() }

// Refuse makes every call fail with a rate limit that ends in so many seconds; 0
// ends that.
func (s *Server) Refuse(seconds int) { s.refusing.Store(int64(seconds)) }

// Fail makes every call end with a status; 0 ends that.
func (s *Server) Fail(status int) { s.failing.Store(int64(status)) }

// Order gives orders, as they stand in prompts, for every call from now on: so one
// of two providers that see the same prompt can fail. "" ends that.
func (s *Server) Order(text string) {
	o := readOrders(text)
	s.standing.Store(&o)
}

// Most is how many calls have been here at once at the most, of those that were
// told to wait with slow=. It counts the wait only: when an answer has begun, its
// caller may rightly send the next call before this side sees the end.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *Server) wait(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += more
	s.most = max(s.most, s.waiting)
}

// Forget drops what has been recorded and starts to count anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = nil
	s.most = 0
	s.count.Store(0)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	rec := &Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: body, Arrived: time.Now(), Gone: make(chan struct{})}
	s.count.Add(1)
	s.mu.Lock()
	s.received = append(s.received, rec)
	s.mu.Unlock()
	a := &answer{s: s, w: w, r: r, call: readCall(r.URL.Path, body)}
	if o := s.standing.Load(); o != nil {
		maps.Copy(a.call.orders, *o)
	}
	if seconds := s.refusing.Load(); seconds > 0 {
		a.call.orders["status"], a.call.orders["retry-after"] = "429", strconv.FormatInt(seconds, 10)
	}
	if status := s.failing.Load(); status > 0 {
		a.call.orders["status"] = strconv.FormatInt(status, 10)
	}
	switch r.URL.Path {
	case "/v1/chat/completions":
		a.dialect = chat{}
	case "/v1/completions":
		a.dialect = completion{}
	case "/v1/embeddings":
		a.dialect = embedding{}
	case "/v1/messages":
		a.dialect = messages{}
	default:
		http.NotFound(w, r)
		return
	}
	a.run()
	s.mu.Lock()
	rec.ended = true
	s.mu.Unlock()
	if r.Context().Err() != nil {
		close(rec.Gone)
	}
}
