package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// attempts bounds how often a write is worked out anew because somebody else
// changed the same object meanwhile. Of n that meet, one gets through each
// time, so this is how many may change one object at once.
const attempts = 32

// submit works a write out on the newest snapshot and submits it as one
// mutation: all of it happens or nothing. build is called again when an object
// it read was changed meanwhile, so it must take everything from the snapshot
// it is given. Afterwards c.s holds the effect.
func (c *call) submit(build func(s *state.Snapshot) ([]model.Change, *refusal.Refusal)) *refusal.Refusal {
	var conflict *model.Refused
	first := c.ids
	for range attempts {
		s := c.a.State.State()
		c.ids = first
		changes, r := build(s)
		if r != nil {
			return c.unlessDone(r, s.Index)
		}
		c.lives(s, changes)
		if len(changes) == 0 {
			c.s = s
			c.written(s.Index)
			return nil
		}
		id, r := c.mutationID()
		if r != nil {
			return r
		}
		sealed, r := c.sealSecret(id)
		if r != nil {
			return r
		}
		res, err := c.a.Mutate(c.background(), model.Mutation{ID: id, At: c.now(), By: c.changedBy(), ByKey: c.p.KeyHash(), Changes: changes, Sealed: sealed})
		if err != nil {
			return c.a.Unavailable(err)
		}
		if conflict = res.Conflict; conflict != nil {
			continue
		}
		if res.Sealed != sealed { // each sealing differs: this one is the first call's
			c.repeats(id, res)
		}
		c.took(res)
		// Somebody else may have deleted an object since. It was changed all the
		// same, others may have seen it, and so the answer is not that there is none.
		if !c.repeated { // else it was an earlier call's objects that were stored
			c.s = c.s.WithMissing(changes)
		}
		c.a.Logger.Info("state changed over the API", "route", c.route, "by", c.who(), "changes", len(changes), "index", res.Index)
		return nil
	}
	return refusal.New(409, "conflict", "", "The object is being changed by others: "+conflict.Error()+". Nothing was changed; try again.")
}

// unlessDone is the refusal r, unless the write is refused because it was done:
// a caller who got no answer repeats it under its Idempotency-Key, maybe on
// another node, and must not be told that the team it made exists already. The
// state machine knows: it is handed the mutation's id with a change that cannot
// apply, and answers success only when the id had succeeded before. When it
// cannot be asked, nobody knows. seen is the state that the refusal follows from.
func (c *call) unlessDone(r *refusal.Refusal, seen uint64) *refusal.Refusal {
	if c.key == "" || r.Status != 400 && r.Status != 404 && r.Status != 409 {
		return r
	}
	never := model.Delete(model.Keys, "\x00never", model.Version(1))
	for asked := 0; asked < probes && c.tries < attempts; {
		id, _ := c.mutationID()
		res, err := c.a.Mutate(c.background(), model.Mutation{ID: id, At: c.now(), By: c.changedBy(), ByKey: c.p.KeyHash(), Changes: []model.Change{never}})
		if err != nil {
			c.a.Logger.Warn("refusal withheld: nobody knows whether the write was made before", "route", c.route, "error", err)
			return refusal.Unavailable("outcome_unknown", "Whether an earlier call with this Idempotency-Key was made cannot be found out now. Send it again with the same key.", time.Second)
		}
		if res.Conflict == nil {
			c.repeats(id, res)
			c.took(res)
			return nil
		}
		if res.Index > seen {
			asked++ // else an earlier call was refused under this id
		}
	}
	return r
}

// changedBy is who the audit log names: the caller, or whom the caller says it
// acts for, as LiteLLM takes it.
func (c *call) changedBy() string {
	if by := c.ctx.Request.Header.Peek("Litellm-Changed-By"); len(by) > 0 && len(by) <= 256 {
		return string(by)
	}
	return c.who()
}

// took notes that the write is made and visible here.
func (c *call) took(res model.Result) {
	c.done = true
	c.s = c.a.State.State()
	c.written(res.Index)
}

// sealSecret seals the key that a write makes, so that a repetition of the write
// is answered with it on whichever node it arrives.
func (c *call) sealSecret(id string) (string, *refusal.Refusal) {
	if c.key == "" || c.secret == "" || c.a.SealAnswer == nil || c.a.OpenAnswer == nil {
		return "", nil
	}
	sealed, err := c.a.SealAnswer(answerEntity(id), c.secret)
	if err != nil {
		c.a.Logger.Error("answer not sealed", "route", c.route, "error", err)
		return "", refusal.Unavailable("secrets_unavailable", "The new key could not be sealed for a repetition of this call; nothing was changed.", 5*time.Second)
	}
	return sealed, nil
}

// repeats notes that an earlier call made the write, and finds the key it made.
func (c *call) repeats(id string, res model.Result) {
	c.repeated = true
	if res.Sealed == "" || c.a.OpenAnswer == nil {
		return
	}
	plain, err := c.a.OpenAnswer(answerEntity(id), res.Sealed)
	if err != nil {
		c.a.Logger.Warn("answer of an earlier call not opened", "route", c.route, "error", err)
		return
	}
	c.secret = plain
}

// answerEntity names the place that an answer is sealed for.
func answerEntity(mutation string) string { return "answer/" + mutation }

// probes is how many unused ones of a call's mutation ids are tried: an id that
// met a conflict answers so for ever, and the write went on under the next.
const probes = 3

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
	sum := c.identity()
	return "idem-" + hex.EncodeToString(sum[:16]) + "-" + strconv.Itoa(c.tries), nil
}

// identity is what makes two calls with an Idempotency-Key the same call.
func (c *call) identity() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range []string{c.p.KeyHash(), string(c.ctx.Method()), c.path, string(c.ctx.QueryArgs().QueryString()), c.key} {
		io.WriteString(h, part)
		h.Write([]byte{0})
	}
	h.Write(c.ctx.PostBody())
	return [sha256.Size]byte(h.Sum(nil))
}

// newID makes a random id whose order follows time. With an Idempotency-Key it
// follows from the call instead, so that a repetition names the same objects.
func (c *call) newID() (string, *refusal.Refusal) {
	if c.key != "" {
		c.ids++
		sum := c.identity()
		return c.draw(uuid.NewSHA1(uuid.UUID(sum[:16]), []byte(strconv.Itoa(c.ids))).String()), nil
	}
	id, err := uuid.NewV7FromReader(c.a.Rand)
	if err != nil {
		return "", c.noRandom(err)
	}
	return c.draw(id.String()), nil
}

// draw notes an id that no object has ever had.
func (c *call) draw(id string) string {
	if c.drawn == nil {
		c.drawn = map[string]bool{}
	}
	c.drawn[id] = true
	return id
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
