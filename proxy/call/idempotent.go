package call

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"tollgate/ledger/once"
	"tollgate/proxy/refusal"
)

// Answers remembers, for all nodes alike, which call answers for a caller's
// Idempotency-Key. *once.Desk is one.
type Answers interface {
	Take(ctx context.Context, id once.ID, body once.Sum, call once.CallID) (answer []byte, err error)
	Done(call once.CallID)
	Drop(id once.ID, call once.CallID)
	// Alone reports whether keys hold on this node only.
	Alone() bool
}

// claimed is what a call with a key of its own keeps for those that repeat it. A
// call without one has none.
type claimed struct {
	id    once.ID
	stays bool   // it was answered, or nobody can say whether it was
	most  int    // bytes of answer that are kept
	sent  []byte // a stream's frames as they were sent
	large bool   // there were more than most
}

// mostKey is the longest Idempotency-Key; a UUID has 36.
const mostKey = 255

// claimKey lets only the first call with an Idempotency-Key go on. over says that
// the call ends here: with the first one's answer, or a refusal.
func (c *call) claimKey(in *Incoming) (ref *refusal.Refusal, over bool) {
	if c.h.Answers == nil || c.claimed != nil { // claimed: this is the walk's second turn
		return nil, false
	}
	key := c.ctx.Request.Header.PeekBytes(headerIdempotencyKey)
	if len(key) == 0 {
		return nil, false
	}
	if len(key) > mostKey {
		return refusal.New(400, "invalid_request_error", "Idempotency-Key", "The Idempotency-Key is longer than 255 bytes. Send a fresh UUID for each call.").WithCode("invalid_idempotency_key"), true
	}
	if c.h.Answers.Alone() {
		c.ctx.Response.Header.SetCanonical(headerKeyScope, onNode)
	}
	id := once.IDOf(c.principal.KeyHash(), string(key))
	body := once.SumOf(c.routeName()+"\x00"+in.PathModel, in.Body)
	ctx, end := c.waitFor()
	answer, err := c.h.Answers.Take(ctx, id, body, c.id)
	left := errors.Is(ctx.Err(), context.Canceled)
	end()
	switch {
	case err != nil && left:
		return refusal.New(499, "invalid_request_error", "", "The client closed the connection before the answer was there."), true
	case err != nil:
		return c.notClaimed(err), true
	case answer != nil:
		return c.repeat(answer), true
	}
	c.claimed = &claimed{id: id, most: c.mostKept()}
	return nil, false
}

// waitFor is how long a call waits for the first one with its key: as long as it
// would wait for a provider, and while its client does: then it is canceled.
func (c *call) waitFor() (ctx context.Context, end func()) {
	cfg := c.snap.Routing.Config
	ctx, cancel := context.WithTimeout(context.Background(),
		firstPositive(c.req.timeout, seconds64(cfg.Router.Timeout), seconds64(cfg.LiteLLM.RequestTimeout), time.Hour))
	if c.conn == nil {
		return ctx, cancel
	}
	conn, epoch := c.conn, c.conn.Arm()
	watch := time.AfterFunc(watchAfter, func() { conn.Watch(epoch, cancel) })
	return ctx, func() {
		if !watch.Stop() {
			conn.Unwatch()
		}
		cancel()
	}
}

// notClaimed puts what keeps a key from a call into words.
func (c *call) notClaimed(err error) *refusal.Refusal {
	var no *once.Refused
	if !errors.As(err, &no) {
		return refusal.Unavailable("idempotency_unavailable", "The nodes could not agree that this is the first call with its Idempotency-Key ("+err.Error()+
			"). Nothing was sent or charged; try again, or without the key.", 2*time.Second)
	}
	first := uuid.UUID(no.Call).String()
	switch no.Why {
	case once.Conflict:
		return refusal.New(422, "invalid_request_error", "Idempotency-Key", "This Idempotency-Key was used for another request within the last 24 hours (call "+first+
			"). Use a key once, and the same body when you repeat it.").WithCode("idempotency_key_reused").With(firstCall, first).With("x-should-retry", "false")
	case once.Running:
		return refusal.New(409, "invalid_request_error", "Idempotency-Key", "The first call with this Idempotency-Key (call "+first+
			") still runs, and this one has waited for it as long as its timeout allows. Try again with the same key.").WithCode("idempotency_key_in_use").With(firstCall, first).With("retry-after", "1")
	case once.NotKept:
		return notKept(first)
	case once.Elsewhere:
		return regionRefusal("The first call with this Idempotency-Key (call "+first+") was made under data_regions that this node, in region "+c.h.Region+
			", is not in: its answer may not come here. It is not made a second time. Send the key to a node inside.").With(firstCall, first).With("x-should-retry", "false")
	case once.TooMany:
		return refusal.Unavailable("idempotency_full", "More Idempotency-Keys are in use than the nodes can remember. Nothing was sent or charged; try again later, or without the key.", time.Minute)
	}
	return refusal.Unavailable("outcome_unknown", "A call with this Idempotency-Key was begun (call "+first+
		"), and its answer is out of reach: the node that made it is away, or was ended while it ran. It is not made a second time. Try again, or look at the spend logs for the call's id before you use another key.", 5*time.Second).With(firstCall, first)
}

func notKept(first string) *refusal.Refusal {
	return refusal.New(409, "invalid_request_error", "Idempotency-Key", "The first call with this Idempotency-Key (call "+first+
		") was answered, and its answer is not kept: it was larger than idempotency.max_answer_bytes, or given up for space. It is not made a second time.").
		WithCode("answer_not_kept").With(firstCall, first).With("x-should-retry", "false")
}

// firstCall is the header that names the call which has the key.
const firstCall = "x-tollgate-first-call-id"

// mostKept is how large an answer may be that is kept.
func (c *call) mostKept() int {
	if n := c.snap.Routing.Config.Tollgate.IdempotencyMaxBytes; n > 0 {
		return int(min(n, mostAnswer))
	}
	return keptAnswer
}

const (
	keptAnswer = 1 << 20
	// mostAnswer leaves room in one message between nodes.
	mostAnswer = 32 << 20
)

// record keeps a frame that goes to the client.
func (k *claimed) record(frame []byte) {
	if k.large || len(k.sent)+len(frame) > k.most {
		k.large, k.sent = true, nil
		return
	}
	k.sent = append(k.sent, frame...)
}

// keptFor gives the entry what a repeated key is to be answered, if the call was.
func (c *call) keptFor(o *outcome) []byte {
	k := c.claimed
	if k == nil || !o.answered {
		return nil
	}
	k.stays = true // whatever becomes of the booking: the provider has answered
	a := keptCall{stream: c.req.stream, large: k.large, id: c.idText, group: c.req.model, body: k.sent}
	if !c.req.stream {
		a.body = o.response
		if a.large = len(a.body) > k.most; a.large {
			a.body = nil
		}
	}
	if d := c.served.Deployment; d != nil {
		a.modelID = d.ID
	}
	return a.append(nil)
}

// endClaim tells the others what became of a call with a key.
func (c *call) endClaim() {
	switch k := c.claimed; {
	case k == nil:
	case k.stays:
		c.h.Answers.Done(c.id)
	default:
		c.h.Answers.Drop(k.id, c.id)
	}
}

// repeat answers with what the first call with the key was answered.
func (c *call) repeat(answer []byte) *refusal.Refusal {
	a, err := readKept(answer)
	if err != nil {
		c.h.Logger.Error("a kept answer is not readable", "call_id", c.idText, "error", err)
		return refusal.Unavailable("outcome_unknown", "The answer of the first call with this Idempotency-Key cannot be read.", 5*time.Second)
	}
	if a.large {
		return notKept(a.id)
	}
	r := &c.ctx.Response
	c.ctx.SetStatusCode(200)
	c.setText(headerCallID, a.id)
	c.setText(headerModelID, a.modelID)
	c.setText(headerModelGroup, a.group)
	c.setText(headerVersion, c.h.Version)
	r.Header.SetCanonical(headerReplay, yes)
	r.Header.SetCanonical(headerCost, zero) // it was paid once
	c.keyHeaders()
	if a.stream {
		c.ctx.SetContentType("text/event-stream; charset=utf-8")
		r.Header.SetCanonical(headerCacheControl, noCache)
		r.Header.SetCanonical(headerBuffering, no)
	} else {
		r.Header.SetContentType("application/json")
	}
	r.SetBodyRaw(a.body)
	return nil
}
