package admin

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

// Rehearsal is a model call that is asked about and not made.
type Rehearsal struct {
	Snapshot *state.Snapshot
	// Principal is who would make it; NotIdentified is why that is nobody.
	Principal     auth.Principal
	NotIdentified *refusal.Refusal
	Route         string
	Model         string // "": the body's
	Body          []byte // nil: any short one
	Header        [][2]string
	// Narrow asks for somebody who may not see all.
	Narrow bool
}

// explain answers /utils/explain: why a call would be admitted or refused and
// where it would go, or, for a request id, what became of one.
func explain(c *call) *refusal.Refusal {
	f, r := c.explainForm()
	if r != nil {
		return r
	}
	id, key, name, path := f.str("request_id"), f.str("key"), f.str("model"), f.str("route")
	body, header := f.object("body"), f.strMap("headers")
	if !f.wrong() {
		if c.ctx.IsGet() {
			f.require("request_id", id.v != "")
		} else {
			f.require("model", id.v != "" || name.v != "" || body.set)
		}
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	if id.v != "" {
		return c.explainRequest(id.v)
	}
	if c.a.Explain == nil {
		return notFound("", "This node explains no calls.")
	}
	q := Rehearsal{Snapshot: c.s, Route: path.v, Model: name.v, Narrow: !c.seesAll()}
	if q.Route == "" {
		q.Route = "/chat/completions"
	}
	if body.set {
		q.Body = body.v
	}
	for k, v := range header.v {
		q.Header = append(q.Header, [2]string{k, v})
	}
	if r := c.rehearser(key.v, &q); r != nil {
		return r
	}
	answer, known := c.a.Explain(c.reading(), q)
	if !known {
		return badRequest("route", "%s is no route of models. Ask about /chat/completions, /completions, /embeddings or /messages.", q.Route)
	}
	return c.ok(answer)
}

// explainForm is the body, or of a GET the request's id.
func (c *call) explainForm() (*form, *refusal.Refusal) {
	if !c.ctx.IsGet() {
		return c.form()
	}
	f := &form{where: "query", raw: map[string]jsontext.Value{}}
	id, err := jsontext.AppendQuote(nil, c.query("request_id")) // a key does not belong into an address
	if err != nil {
		return nil, badRequest("request_id", "request_id is not text.")
	}
	f.raw["request_id"] = id
	return f, nil
}

// rehearser finds whose call is asked about: a key's, by itself, its hash or its
// alias, or the caller's own.
func (c *call) rehearser(key string, q *Rehearsal) *refusal.Refusal {
	if key == "" {
		q.Principal = *c.p
		return nil
	}
	hash := hashOf(key)
	k, ok := c.s.KeyFor(hash, c.now())
	if !ok {
		if k, ok = c.s.KeyByAlias(key); ok {
			hash = k.Hash
		}
	}
	switch {
	case hash == c.masterHash() && c.p.Admin():
		q.Principal = auth.Principal{Master: true, Role: auth.RoleAdmin}
	case ok && c.sees(k):
		q.Principal, q.NotIdentified = auth.OfKey(c.s, k)
	case !c.seesAll():
		return forbidden("Only the owner of a key and proxy admins may ask what it may do. Your role=%s. Your user_id=%s", c.p.Role, c.p.UserID())
	case strings.HasPrefix(key, "sk-"):
		old := c.s.Routing != nil && c.s.Routing.Config.Tollgate.CompatErrors == "old"
		q.Principal, q.NotIdentified = auth.Identify(c.s, c.masterHash(), []byte(key), c.now(), old)
	default:
		q.NotIdentified = refusal.New(401, "token_not_found_in_db", "key",
			fmt.Sprintf("Authentication Error, no key has the hash or the alias %s", shortKey(key)))
	}
	return nil
}
