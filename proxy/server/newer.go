package server

import (
	"context"

	"github.com/valyala/fasthttp"

	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// A change made on one node holds on every node once it is answered, also for
// the caller who is faster than the log. So a refusal that newer state could
// lift is not given before newer state has been asked for; and when nobody can
// tell whether there is any, the fault is ours and never the caller's.

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
