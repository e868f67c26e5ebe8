package clusterapi

import (
	"time"

	"tollgate/proxy/refusal"
)

// Bounds of a join token. One that lives longer than a day is a password that
// somebody forgot.
const (
	tokenTTL    = time.Hour
	tokenMinTTL = time.Minute
	tokenMaxTTL = 24 * time.Hour
	tokenUses   = 1000
)

func (c *call) tokens() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	list, err := c.h.Cluster.Tokens(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(struct {
		Tokens []TokenInfo `json:"tokens"`
	}{list})
}

// createToken answers with the token's text, which is told here and never again.
func (c *call) createToken() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	role := f.choice("role", "node", "witness")
	ttl := f.duration("ttl", tokenMinTTL, tokenMaxTTL, tokenTTL)
	uses := int(f.whole("uses", 1, tokenUses, 1))
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	text, info, err := c.h.Cluster.CreateToken(ctx, role, ttl, uses, c.who())
	if err != nil {
		return c.failed(err)
	}
	c.ctx.Response.Header.Set("Cache-Control", "no-store")
	return c.done(200, struct {
		Token string `json:"token"`
		TokenInfo
	}{text, info}, "token_id", info.ID, "role", role, "uses", uses)
}

// revokeToken takes the id from the query or from the body: not every client
// can send a body with DELETE.
func (c *call) revokeToken() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	query := string(c.ctx.QueryArgs().Peek("id"))
	id := f.name("id", query == "")
	switch {
	case id == "":
		id = query
	case query != "" && query != id:
		f.invalid("id", "id in the query and in the body differ")
	}
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if err := c.h.Cluster.RevokeToken(ctx, id); err != nil {
		return c.failed(err)
	}
	return c.done(200, struct {
		Revoked string `json:"revoked"`
	}{id}, "token_id", id)
}
