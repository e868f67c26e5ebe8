package run

import (
	"context"
	"strings"

	"tollgate/proxy/admin"
	"tollgate/proxy/call"
	"tollgate/proxy/server"
)

// explain tells what would become of a model call on this node.
func (n *node) explain(ctx context.Context, q admin.Rehearsal) (answer any, known bool) {
	op, model, ok := server.ModelRoute(q.Route)
	if !ok || strings.HasSuffix(q.Route, "/count_tokens") { // which reserves and sends nothing
		return nil, false
	}
	if model == "" {
		model = q.Model
	}
	return n.calls.Explain(ctx, call.Question{
		Snapshot: q.Snapshot, Principal: q.Principal, NotIdentified: q.NotIdentified,
		Op: op, Route: q.Route, Model: model, Body: q.Body, Header: q.Header, Narrow: q.Narrow,
	}), true
}
