package call

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"tollgate/config/price"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/proxy/auth"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
)

// lane is what one attempt holds of its deployment's limits and of its
// deployment's and provider's budgets. They are ordinary limits and budgets, but
// they choose: a deployment without room is passed over, and the caller is
// refused only when none has any.
type lane struct {
	res      *admit.Reservation
	own      int            // charges of the call that are the caller's; the lane's follow
	cap      int64          // output tokens that the lane affords; 0: no cap
	full     *admit.Refusal // of the lanes passed over, the one that clears soonest
	unbooked bool           // the ledger did not take the intent with the lane's charges
}

// laneWait bounds how long a lane's budget is waited for while there are others.
const laneWait = 100 * time.Millisecond

// claim reserves a candidate's lane. It is false when the lane has no room.
func (c *call) claim(cand route.Candidate, alone bool) bool {
	c.leaveLane()
	d := cand.Deployment
	tokens := int64(0)
	if d.TPM != nil {
		tokens = c.tokenEstimate(c.principal.Alias(c.req.model), c.outputBound())
	}
	var ask admit.Ask
	auth.LaneCharges(c.snap, d, tokens, &ask, c.h.Admit.LimitID)
	if len(ask.Rates)+len(ask.Budgets) == 0 {
		return true
	}
	in := c.req.inputBound()
	ctx := c.admitContext()
	if len(ask.Budgets) > 0 {
		c.boundLane(&ask, d.Price, in)
		if !alone {
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, laneWait)
			defer end()
		}
	}
	res, err := c.h.Admit.Acquire(ctx, &ask)
	if err != nil {
		c.passOver(err)
		return false
	}
	c.lane.res = res
	if len(ask.Budgets) == 0 {
		return true
	}
	if granted := res.Granted(); granted < ask.Max {
		c.lane.cap = max(price.AffordableOutput(d.Price, in, granted)/c.req.choices, 1)
	}
	var buf [4]int64
	for i, w := range res.Windows(buf[:0]) {
		c.charges = append(c.charges, store.Charge{Scope: ask.Budgets[i].Scope, Window: w})
	}
	c.served = cand
	if !c.amendIntent() {
		c.lane.unbooked = true
		c.leaveLane()
		return false
	}
	return true
}

// boundLane decides how much a lane's budgets reserve, as the caller's do.
func (c *call) boundLane(ask *admit.Ask, row *price.Row, in int64) {
	if row == nil {
		return // nothing can be reserved for what has no price
	}
	out := c.outputBound()
	ask.Max = price.Max(row, in, out)
	if !c.unstated() || c.snap.Routing.Config.Tollgate.Unbounded == "reserve_max" {
		return
	}
	learned := c.h.Admit.Learned(c.principal.KeyHash(), c.principal.Alias(c.req.model))
	if c.req.stream {
		ask.Max = price.Max(row, in, min(learned+growthMargin, out))
		c.growing = true
		return
	}
	ask.Clamp, ask.Min = true, min(price.Max(row, in, min(max(learned, 64), out)), ask.Max)
}

// passOver remembers why a lane had no room.
func (c *call) passOver(err error) {
	var no *admit.Refusal
	if !errors.As(err, &no) {
		no = &admit.Refusal{Budget: true, RetryAfter: time.Second}
	}
	if f := c.lane.full; f == nil || no.RetryAfter > 0 && (f.RetryAfter == 0 || no.RetryAfter < f.RetryAfter) {
		c.lane.full = no
	}
}

// leaveLane gives back what the last attempt held.
func (c *call) leaveLane() {
	if c.lane.res == nil {
		if c.lane.own == 0 {
			c.lane.own = len(c.charges)
		}
		return
	}
	c.lane.res.Cancel()
	c.lane.res.Release()
	clear(c.charges[c.lane.own:])
	c.charges = c.charges[:c.lane.own]
	c.lane.res, c.lane.cap = nil, 0
}

// held is what the call may cost by all that is reserved for it.
func (c *call) held() unit.Money {
	switch {
	case c.lane.res == nil || len(c.charges) == c.lane.own:
		return c.reservation.Granted()
	case c.lane.own == 0:
		return c.lane.res.Granted()
	}
	return min(c.reservation.Granted(), c.lane.res.Granted())
}

// growBy reserves more in the caller's budgets and in the lane's.
func (c *call) growBy(ahead, least unit.Money) error {
	if c.lane.res == nil || c.lane.own > 0 {
		if _, err := c.reservation.GrowBy(context.Background(), ahead, least); err != nil {
			return err
		}
	}
	if c.lane.res == nil || len(c.charges) == c.lane.own {
		return nil
	}
	_, err := c.lane.res.GrowBy(context.Background(), ahead, least)
	return err
}

// windows are those in which the charges of the call count, in their order.
func (c *call) windows(to []int64) []int64 {
	to = c.reservation.Windows(to)
	if c.lane.res != nil {
		to = c.lane.res.Windows(to)
	}
	return to
}

// endReservations settles the call's reservations at what it used.
func (c *call) endReservations(tokens int64, cost unit.Money) {
	c.reservation.Settle(tokens, cost)
	if c.lane.res != nil {
		c.lane.res.Settle(tokens, cost)
	}
}

// outputLimit is the most output tokens that what is reserved pays for; 0: no
// limit of ours.
func (c *call) outputLimit() int64 {
	switch {
	case c.lane.cap == 0:
		return c.outputCap
	case c.outputCap == 0:
		return c.lane.cap
	}
	return min(c.outputCap, c.lane.cap)
}

// NoRoom is the failure of a group of which no deployment has room.
func (c *call) NoRoom() *provider.Error {
	no := c.lane.full
	if no == nil {
		return provider.NewError(provider.InternalServer, "the ledger did not take the call")
	}
	secs := max(int(math.Ceil(no.RetryAfter.Seconds())), 1)
	f := provider.NewError(provider.RateLimit, "No deployments available for selected model, Try again in "+strconv.Itoa(secs)+
		" seconds. Passed model="+c.req.model+". "+c.whyFull(no))
	f.RetryAfter = min(time.Duration(secs)*time.Second, time.Minute)
	return f
}

// notBooked ends a call whose lane the ledger did not take.
func (c *call) notBooked() *refusal.Refusal {
	c.unwatch()
	c.finish(provider.NewError(provider.InternalServer, "the ledger did not take the call"))
	return refusal.Unavailable("ledger_unavailable", "This node cannot record calls at the moment. Nothing was sent or charged; try again.", time.Second)
}

// routerRefusal is the client's form of a limit that the router itself found:
// nobody was asked. Waiting helps, so clients may come again.
func (c *call) routerRefusal(f *provider.Error) *refusal.Refusal {
	msg := f.Message
	if last, _ := c.way.Last(); last != nil {
		msg += c.whatElse(f)
	}
	r := refusal.New(429, "", "", msg)
	r.Class = string(provider.RateLimit)
	return r.With("retry-after", strconv.Itoa(max(int(math.Ceil(f.RetryAfter.Seconds())), 1)))
}

func (c *call) whyFull(no *admit.Refusal) string {
	switch {
	case no.Budget && no.Scope.ID == "":
		return "The budget bank did not answer in time."
	case no.Budget:
		return c.budgetRefusal(no).Message
	}
	return rateRefusal(no, c.start).Message
}

// finish books a call that no provider has heard of.
func (c *call) finish(f *provider.Error) {
	if err := c.settle(outcome{status: store.Failure, fault: f}); err != nil {
		c.h.Logger.Error("failure row not recorded", "call_id", c.idText, "error", err)
	}
}
