package admin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/refusal"
)

// Levels of how new the state must be that a call is answered from.
const (
	// Local is this node's state, however old.
	Local = "local"
	// Leader is at least what the leader has applied.
	Leader = "leader"
	// Linearizable is what a leader has that has made sure that it still is one.
	Linearizable = "linearizable"
)

// ErrStateBehind marks an error of Consistent that says: the index is known, but
// this node had not come to it in time.
var ErrStateBehind = errors.New("state is behind")

// readWithin bounds the wait for newer state.
const readWithin = 5 * time.Second

// wishes are what a call asks of the state that it is answered from.
type wishes struct {
	level    string // "" when it does not say
	minIndex uint64
}

func readWishes(ctx *fasthttp.RequestCtx) (w wishes, r *refusal.Refusal) {
	w.level = either(ctx, "consistency", "X-Consistency")
	switch w.level {
	case "", Local, Leader, Linearizable:
	default:
		return w, refusal.New(400, "bad_request", "consistency", "consistency must be local, leader or linearizable.")
	}
	if v := either(ctx, "min_index", "X-Min-Index"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return w, refusal.New(400, "bad_request", "min_index", "min_index must be a whole number: the X-State-Index of an earlier answer.")
		}
		w.minIndex = n
	}
	return w, nil
}

func either(ctx *fasthttp.RequestCtx, query, header string) string {
	if v := ctx.QueryArgs().Peek(query); len(v) > 0 {
		return string(v)
	}
	return string(ctx.Request.Header.Peek(header))
}

// readsOnly reports whether a route changes nothing: some that read take a body.
func readsOnly(method, route string) bool {
	if method == fasthttp.MethodGet {
		return true
	}
	switch route {
	case "/v2/key/info", "/budget/info", "/tag/info", "/spend/calculate", "/global/spend/end_users", "/utils/token_counter",
		"/utils/explain":
		return true
	}
	return false
}

// freshen waits until this node's state is what the call asks for: reads see by
// default what the leader has, writes what is here, since they are held against
// the leader's state anyway. Without a leader a plain read is answered from
// what is here, marked with its age. newest says that nothing newer could turn
// a refusal.
func (a *Admin) freshen(ctx *fasthttp.RequestCtx, reads bool) (newest bool, r *refusal.Refusal) {
	w, r := readWishes(ctx)
	if r != nil {
		return false, r
	}
	plain := w.minIndex == 0 && (w.level == Leader || w.level == "" && reads)
	switch {
	case plain:
		w.level = Leader
	case w.level == "" && w.minIndex == 0:
		return false, nil
	case w.level == "":
		w.level = Local
	}
	if a.Consistent == nil {
		if w.minIndex > a.State.State().Index {
			return false, refusal.StateBehind()
		}
		return true, nil
	}
	limit, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	stale, err := a.Consistent(limit, w.level, w.minIndex)
	switch {
	case err == nil:
		if w.level == Local {
			setStale(ctx, stale)
		}
		return true, nil
	case plain:
		setStale(ctx, stale)
		return false, nil
	case errors.Is(err, ErrStateBehind), errors.Is(err, context.DeadlineExceeded):
		return false, refusal.StateBehind()
	}
	a.Logger.Warn("read refused: no leader tells how new the state is", "consistency", w.level, "error", err)
	return false, refusal.Unavailable("no_leader", "No leader can be reached, so nobody can tell whether this is the newest state. Ask with consistency=local for what this node has.", time.Second)
}

func setStale(ctx *fasthttp.RequestCtx, stale time.Duration) {
	ctx.Response.Header.Set("X-State-Stale-Ms", strconv.FormatInt(max(stale.Milliseconds(), 0), 10))
}

// catchUp brings this node to what the leader has, before a write is refused for
// what this node knows. moved says that there was something new.
func (a *Admin) catchUp(c *call) (moved bool, r *refusal.Refusal) {
	limit, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	if _, err := a.Consistent(limit, Leader, 0); err != nil {
		a.Logger.Warn("refusal withheld: newer state could not be asked for", "path", c.path, "error", err)
		return false, refusal.StateBehind()
	}
	return a.State.State() != c.first, nil
}
