package admin

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/config/unit"
	"tollgate/proxy/refusal"
)

// What answers keeps is bounded in number, size and time: it holds generated
// keys in plain text, which stand nowhere else.
const (
	answersKept  = 1024
	answerLives  = time.Hour
	answerMaxLen = 16 << 10
)

// answers remembers the successful answers to writes with an Idempotency-Key.
// It is a courtesy of this node: without it a repeated write still happens only
// once, because its mutation has the same id, and its answer is made anew from
// the state and the sealed secret that the state machine keeps with the result.
type answers struct {
	clock unit.Clock
	mu    sync.Mutex // guards the two below
	by    map[[32]byte]*answer
	order [][32]byte // oldest first
}

// answer is one kept answer; its fields are set before done is closed.
type answer struct {
	done    chan struct{}
	body    [32]byte // of the request
	at      time.Time
	ok      bool
	status  int
	content []byte
	index   []byte
}

func newAnswers(clock unit.Clock) *answers {
	return &answers{clock: clock, by: map[[32]byte]*answer{}}
}

// once runs a write, or gives the answer that the same write got before. Of
// two at once the second waits for the first.
func (s *answers) once(c *call, h handler) *refusal.Refusal {
	id := sha256.Sum256(bytes.Join([][]byte{[]byte(c.p.KeyHash()), c.ctx.Method(), []byte(c.path),
		c.ctx.QueryArgs().QueryString(), []byte(c.key)}, []byte{0}))
	body := sha256.Sum256(c.ctx.PostBody())
	for {
		a, mine := s.claim(id, body)
		if a.body != body {
			return refusal.New(422, "invalid_request_error", "Idempotency-Key",
				"This Idempotency-Key was used with another body. Use a new key for another request.")
		}
		if mine {
			return s.run(id, a, c, h)
		}
		<-a.done
		if a.ok {
			a.write(c.ctx)
			return nil
		}
	}
}

func (s *answers) run(id [32]byte, a *answer, c *call, h handler) *refusal.Refusal {
	defer func() {
		if !a.ok {
			// Refusals are not kept: the cause may be gone when the caller tries again.
			s.mu.Lock()
			delete(s.by, id)
			s.mu.Unlock()
		}
		close(a.done)
	}()
	r := h(c)
	resp := &c.ctx.Response
	if r == nil && resp.StatusCode() == 200 && len(resp.Body()) <= answerMaxLen {
		a.status, a.content = 200, bytes.Clone(resp.Body())
		a.index, a.ok = bytes.Clone(resp.Header.Peek("X-State-Index")), true
	}
	return r
}

// claim finds the answer of an id or makes room for it; mine says that the
// caller has to bring it about.
func (s *answers) claim(id, body [32]byte) (a *answer, mine bool) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.by[id]; ok && (now.Sub(a.at) < answerLives || !a.finished()) {
		return a, false
	}
	for len(s.order) >= answersKept || (len(s.order) > 0 && s.stale(s.order[0], now)) {
		delete(s.by, s.order[0])
		s.order = s.order[1:]
	}
	a = &answer{done: make(chan struct{}), body: body, at: now}
	s.by[id] = a
	s.order = append(s.order, id)
	return a, true
}

func (s *answers) stale(id [32]byte, now time.Time) bool {
	a, ok := s.by[id]
	return !ok || now.Sub(a.at) >= answerLives && a.finished()
}

func (a *answer) finished() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *answer) write(ctx *fasthttp.RequestCtx) {
	ctx.Response.SetStatusCode(a.status)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.Header.Set("Idempotent-Replayed", "true")
	if len(a.index) > 0 {
		ctx.Response.Header.SetBytesV("X-State-Index", a.index)
	}
	ctx.Response.SetBody(a.content)
}
