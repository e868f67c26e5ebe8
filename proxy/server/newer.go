package server

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// A change made on one node holds on every node once it is answered, also for
// the caller who is faster than the log. So a refusal that newer state could
// lift is not given before newer state has been asked for; and when nobody can
// tell whether there is any, the fault is ours and never the caller's.

// tooOld refuses calls where operators would rather have none than by a state
// that may be older than they allow (stale_after). By default a node that has
// lost its leader serves on.
func (s *Server) tooOld(snap *state.Snapshot) *refusal.Refusal {
	if snap.Routing == nil || s.Staleness == nil {
		return nil
	}
	allowed := snap.Routing.Config.Tollgate.StaleAfter
	if allowed <= 0 || s.Staleness() <= time.Duration(allowed*float64(time.Second)) {
		return nil
	}
	return refusal.Unavailable("state_behind", "This node has not heard of its cluster's leader for longer than stale_after allows. Nothing was done; try another node.", time.Second)
}

// caught asks for the state that concerns the caller; moved says that this node
// has newer state than before.
func (s *Server) caught(ctx *fasthttp.RequestCtx) (moved bool, behind *refusal.Refusal) {
	hash := ""
	if key, none := s.credential(ctx, s.State.State()); none == nil {
		hash = auth.Hash(key)
	}
	moved, err := s.CatchUp(context.Background(), hash)
	if err != nil {
		s.Logger.Warn("refusal withheld: newer state could not be asked for", "path", string(ctx.Path()), "error", err)
		return false, refusal.StateBehind()
	}
	return moved, nil
}

// judged runs a judgement, and once more by newer state if there is any and it
// could change a refusal. A judgement that refuses has done nothing.
func (s *Server) judged(ctx *fasthttp.RequestCtx, judge func() *refusal.Refusal) *refusal.Refusal {
	before := s.State.State()
	ref := judge()
	if ref == nil || !ref.Liftable || s.CatchUp == nil {
		return ref
	}
	moved, behind := s.caught(ctx)
	switch {
	case behind != nil:
		return behind
	case !moved && s.State.State() == before:
		return ref
	}
	return judge()
}

// callerByNewer finds out who calls by state newer than what the request was
// judged by. The snapshot is nil when there is no newer one, and the refusal is
// then why that is not known.
func (s *Server) callerByNewer(ctx *fasthttp.RequestCtx, had *state.Snapshot) (*state.Snapshot, auth.Principal, *refusal.Refusal) {
	moved, behind := s.caught(ctx)
	snap := s.State.State() // another request's asking may have moved it
	if behind != nil || !moved && snap == had {
		return nil, auth.Principal{}, behind
	}
	p, ref := s.caller(ctx, snap, string(ctx.Path()))
	return snap, p, ref
}
