package admin

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// call is one management request on its way.
type call struct {
	a     *Admin
	ctx   *fasthttp.RequestCtx
	p     *auth.Principal
	first *state.Snapshot // that it began with
	s     *state.Snapshot // the same, replaced by the newer one after a write
	path  string
	route string // path with {} for the id inside it, which may be a key
	param string // that id, of routes that have one
	key   string // Idempotency-Key, "" when the caller sent none
	tries int    // submissions so far: each needs a mutation id of its own
	ids   int    // ids made in this attempt
	// secret is the key that the write makes. A repetition finds the one that was
	// made.
	secret string
	// done says that the write has been made: what is refused now is no refusal
	// of the call.
	done bool
	// repeated says that an earlier call with this Idempotency-Key did the write.
	repeated bool
	warnings []string                // that the answer carries
	live     *live                   // what an answer shows of all nodes; nil while a write is worked out
	counted  map[Spending]unit.Money // what a write counts from
	// former is what nodes know of ids that a write uses, but for the silent ones.
	former map[model.Scope]Before
	silent []string
	drawn  map[string]bool // ids made at random: nobody bore them
}

// serve runs the handler on the newest state here, once per Idempotency-Key.
func (c *call) serve(h handler) *refusal.Refusal {
	c.first = c.a.State.State()
	c.s, c.tries, c.ids = c.first, 0, 0
	c.written(c.s.Index)
	c.key = string(c.ctx.Request.Header.Peek("Idempotency-Key"))
	var r *refusal.Refusal
	switch {
	case readsOnly(string(c.ctx.Method()), c.route):
		r = c.read(h)
	case c.key == "":
		r = h(c)
	case len(c.key) > 256:
		r = badRequest("Idempotency-Key", "Idempotency-Key may have 256 characters at most.")
	default:
		r = c.a.answers.once(c, h)
	}
	switch {
	case r == answered:
		return nil
	case r != nil && c.done:
		r.Liftable = false
	case r == nil && c.repeated:
		c.ctx.Response.Header.Set("Idempotent-Replayed", "true")
	}
	return r
}

// background is the context of what a call submits. It does not end when the
// client leaves: a write that was sent is waited for, so that its outcome is known.
func (c *call) background() context.Context { return context.Background() }

func (c *call) now() time.Time { return c.a.Clock.Now().UTC() }

// who is the caller as created_by and updated_by show it.
func (c *call) who() string {
	if id := c.p.UserID(); id != "" {
		return id
	}
	return c.p.KeyHash()
}

// ok writes a success.
func (c *call) ok(v any) *refusal.Refusal { return c.write(200, v) }

func (c *call) write(status int, v any) *refusal.Refusal {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		c.a.Logger.Error("management answer not encodable", "path", c.path, "error", err)
		return refusal.New(500, "internal_server_error", "", "the answer could not be encoded")
	}
	c.ctx.Response.SetStatusCode(status)
	c.ctx.Response.Header.SetContentType("application/json")
	c.ctx.Response.SetBodyRaw(c.withWarnings(body))
	return nil
}

// written marks an answer with the index of the state that it shows, a write's
// with that of its effect.
func (c *call) written(index uint64) { written(c.ctx, index) }

func written(ctx *fasthttp.RequestCtx, index uint64) {
	ctx.Response.Header.Set("X-State-Index", strconv.FormatUint(index, 10))
}

// settings are the proxy's settings, never nil.
func (c *call) settings() *model.Config {
	if c.s.Routing != nil && c.s.Routing.Config != nil {
		return c.s.Routing.Config
	}
	if v := c.s.ActiveConfig(); v != nil {
		return &v.Config
	}
	return &model.Config{}
}

// location is where the calendar of budgets lives.
func location(s *state.Snapshot) *time.Location {
	if s.Routing != nil && s.Routing.Location != nil {
		return s.Routing.Location
	}
	return time.UTC
}

func (c *call) query(name string) string { return string(c.ctx.QueryArgs().Peek(name)) }

// queries is one list parameter, given by repetition or with commas.
func (c *call) queries(name string) []string {
	var out []string
	for _, v := range c.ctx.QueryArgs().PeekMulti(name) {
		for part := range strings.SplitSeq(string(v), ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

func (c *call) queryBool(name string, otherwise bool) bool {
	switch strings.ToLower(c.query(name)) {
	case "true", "1", "yes", "on":
		return true
	case "false", "0", "no", "off":
		return false
	}
	return otherwise
}

// page is one page of a listing: LiteLLM counts from 1.
type page struct{ number, size int }

// page reads page and size parameters; max bounds the size.
func (c *call) page(sizeName string, size, max int) (page, *refusal.Refusal) {
	p := page{1, size}
	f := &form{where: "query"}
	read := func(name string, to *int, top int) {
		v := c.query(name)
		if v == "" {
			return
		}
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			f.fault(name, "int_parsing", "Input should be a valid integer, unable to parse string as an integer")
		case n < 1:
			f.fault(name, "greater_than_equal", "Input should be greater than or equal to 1")
		case n > top:
			f.fault(name, "less_than_equal", "Input should be less than or equal to "+strconv.Itoa(top))
		default:
			*to = n
		}
	}
	read("page", &p.number, 1<<31-1)
	read(sizeName, &p.size, max)
	if f.wrong() {
		return p, c.refuseForm(f)
	}
	return p, nil
}

// cut takes the page out of n items: items from up to to.
func (p page) cut(n int) (from, to, pages int) {
	pages = (n + p.size - 1) / p.size
	if p.number > pages { // also keeps the product below from overflowing
		return n, n, pages
	}
	from = (p.number - 1) * p.size
	return from, min(from+p.size, n), pages
}

// badRequest is LiteLLM's refusal of a management call. It and those below may
// follow from objects that are changed elsewhere at this moment.
func badRequest(param, format string, args ...any) *refusal.Refusal {
	return refusal.New(400, "bad_request", param, sprintf(format, args)).Lift()
}

func notFound(param, format string, args ...any) *refusal.Refusal {
	return refusal.New(404, "not_found_error", param, sprintf(format, args)).Lift()
}

func forbidden(format string, args ...any) *refusal.Refusal {
	return refusal.New(403, "auth_error", refusal.None, "Authentication Error, "+sprintf(format, args)).Lift()
}

func sprintf(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}
