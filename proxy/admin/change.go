package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// attempts bounds how often a write is worked out anew because somebody else
// changed the same object meanwhile.
const attempts = 6

// submit works a write out on the newest snapshot and submits it as one
// mutation: all of it happens or nothing. build is called again when an object
// it read was changed meanwhile, so it must take everything from the snapshot
// it is given. Afterwards c.s holds the effect.
func (c *call) submit(build func(s *state.Snapshot) ([]model.Change, *refusal.Refusal)) *refusal.Refusal {
	var conflict *model.Refused
	for range attempts {
		s := c.a.State.State()
		changes, r := build(s)
		if r != nil {
			return r
		}
		if len(changes) == 0 {
			c.s = s
			c.written(s.Index)
			return nil
		}
		id, r := c.mutationID()
		if r != nil {
			return r
		}
		res, err := c.a.Mutate(c.background(), model.Mutation{ID: id, At: c.now(), By: c.who(), Changes: changes})
		if err != nil {
			return c.a.Unavailable(err)
		}
		if conflict = res.Conflict; conflict != nil {
			continue
		}
		c.s = c.a.State.State()
		c.written(res.Index)
		return nil
	}
	return refusal.New(409, "conflict", "", "The object is being changed by others: "+conflict.Error()+". Nothing was changed; try again.")
}

// spread waits until a revoking write holds on every reachable node and names
// those that it could not wait for.
func (c *call) spread() {
	if c.a.Revoked == nil {
		return
	}
	index, err := strconv.ParseUint(string(c.ctx.Response.Header.Peek("X-State-Index")), 10, 64)
	if err != nil {
		return
	}
	if behind := c.a.Revoked(c.background(), index); len(behind) > 0 {
		c.ctx.Response.Header.Set("X-State-Behind", strings.Join(behind, ","))
	}
}

// mutationID is new for every submission of a call. With an Idempotency-Key it
// follows from caller, route, key and body, so that a repeated call proposes
// the very mutation that was applied before, on whichever node it arrives.
func (c *call) mutationID() (string, *refusal.Refusal) {
	c.tries++
	if c.key == "" {
		return c.newID()
	}
	h := sha256.New()
	for _, part := range []string{c.p.KeyHash(), string(c.ctx.Method()), c.path, string(c.ctx.QueryArgs().QueryString()), c.key} {
		io.WriteString(h, part)
		h.Write([]byte{0})
	}
	h.Write(c.ctx.PostBody())
	return "idem-" + hex.EncodeToString(h.Sum(nil)[:16]) + "-" + strconv.Itoa(c.tries), nil
}

// newID makes a random id whose order follows time.
func (c *call) newID() (string, *refusal.Refusal) {
	id, err := uuid.NewV7FromReader(c.a.Rand)
	if err != nil {
		return "", c.noRandom(err)
	}
	return id.String(), nil
}

func (c *call) noRandom(err error) *refusal.Refusal {
	c.a.Logger.Error("no randomness", "error", err)
	return refusal.New(500, "internal_server_error", "", "the machine gave no random bytes; nothing was changed")
}

// born fills who made an object and when.
func (c *call) born(m *model.Meta) {
	m.CreatedAt, m.CreatedBy = c.now(), c.who()
	c.touched(m)
}

// touched fills who changed an object and when.
func (c *call) touched(m *model.Meta) { m.UpdatedAt, m.UpdatedBy = c.now(), c.who() }

// put stores an entity on condition that it still has the version it was read
// with; a new one has version 0 and must not exist.
func put(t model.Table, e model.Entity) model.Change {
	return model.Put(t, e, model.Version(e.EntityVersion()))
}

// remove deletes an entity in the version it was read with.
func remove(t model.Table, e model.Entity) model.Change {
	return model.Delete(t, e.EntityID(), model.Version(e.EntityVersion()))
}
