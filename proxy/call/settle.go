package call

import (
	"time"

	"tollgate/config/price"
	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
)

// outcome is how a call ended.
type outcome struct {
	status   string
	id       string // provider's response id
	model    string // as the provider named it
	usage    price.Usage
	rawUsage []byte
	response []byte
	fault    *provider.Error
	answered bool // the client is given an answer that ends
}

// settle writes the entry and gives the reservation its due. It runs once per
// admitted call, whatever became of it.
func (c *call) settle(o outcome) error {
	if c.settled {
		return nil
	}
	c.settled = true
	now := c.h.Clock.Now()
	d := c.served.Deployment
	var cost price.Cost
	switch {
	case c.isHit():
		cost.Priced = true // nobody has been asked, so nothing is owed
	case d != nil && o.status != store.Failure || o.usage.Known:
		cost = price.Of(&o.usage, rowOf(c.served))
	}
	cost.Add(&c.discarded)
	c.cost, c.endAt = cost, now
	c.leaveDeployment(&o.usage, o.fault)
	e := c.entryOf(o, cost, now)
	e.Answer = c.keptFor(&o)
	seq, err := c.h.Ledger.Settle(c.intent, e)
	if err != nil {
		// The intent stays: the next start charges its maximum, so the budgets
		// count that from now on. What else was held is free.
		owed := c.max
		if c.isHit() {
			owed = 0 // it has no intent
		}
		c.endReservations(o.usage.Total(), owed)
		c.h.Logger.Error("settlement not recorded", "call_id", c.idText, "error", err)
		return err
	}
	if c.h.Copied != nil {
		c.h.Copied(seq)
	}
	c.endReservations(c.countedTokens(&o.usage)+c.discardedTokens, cost.Total)
	if o.usage.OutTotal > 0 && !c.isHit() {
		c.h.Admit.Learn(c.principal.KeyHash(), c.plan.Name, o.usage.OutTotal)
	}
	c.h.Metrics.observe(c, &o)
	c.logAttempts(&o, now)
	return nil
}

// countedTokens is what token limits count, by general_settings.token_rate_limit_type.
func (c *call) countedTokens(u *price.Usage) int64 {
	switch c.snap.Routing.Config.General.TokenLimitType {
	case "input":
		return u.Prompt()
	case "output":
		return u.OutTotal
	}
	return u.Total()
}

func rowOf(cand route.Candidate) *price.Row {
	if cand.Deployment == nil {
		return nil
	}
	return cand.Deployment.Price
}

func (c *call) entryOf(o outcome, cost price.Cost, now time.Time) *store.Entry {
	e := &c.entry
	p := &c.principal
	*e = store.Entry{
		CallID: c.id, RequestID: o.id, CallType: c.callType(), Status: o.status, Start: c.start, End: now,
		Key: p.KeyHash(), User: p.UserID(), EndUser: c.req.endUser, RequestUser: c.req.user, Group: c.req.model,
		Region: c.h.Region, Node: c.h.Node, IP: c.remote(), Session: c.session(), Tags: c.allTags(), Metadata: c.req.metadata,
		Usage: o.usage, RawUsage: o.rawUsage, Cost: cost, Charges: c.charges, Max: c.max, Attempts: c.attempts, Stream: c.req.stream,
	}
	if p.Key != nil {
		e.KeyAlias, e.Organization = p.Key.Alias, p.OrganizationID()
		if p.Key.TeamID != "" {
			e.Team = p.Key.TeamID
		}
	}
	if p.Team != nil {
		e.TeamAlias = p.Team.Alias
	}
	if d := c.served.Deployment; d != nil {
		e.Model, e.ModelID, e.Provider, e.APIBase = d.FullModel, d.ID, d.Provider, shownBase(d.APIBase)
		if d.Wildcard {
			e.Model = d.Provider + "/" + c.served.Model
		}
		e.MaxRetries = c.retries(d)
		e.Fallbacks, e.Tried = c.fallbacksTried(), c.attemptsOf(&o, now)
		if d.Region != "" {
			e.Region = d.Region
		}
	}
	if c.req.stream {
		e.FirstToken = c.firstAt
		if !c.firstAt.IsZero() { // what comes later is the provider's and the client's pace
			e.Overhead = max(c.firstAt.Sub(c.start)-c.elsewhere, 0)
		}
	} else {
		e.Overhead = max(now.Sub(c.start)-c.elsewhere, 0)
	}
	if o.fault != nil {
		e.ErrorClass, e.ErrorCode, e.ErrorMessage = string(o.fault.Class), itoa(o.fault.Status), o.fault.Message
	}
	if e.RequestID == "" && c.ownID {
		e.RequestID = c.idText
	}
	if c.req.logged != nil {
		e.SpendLogsMetadata = c.req.logged
	}
	if !cost.Priced && o.status != store.Failure && c.served.Deployment != nil {
		e.Note = "unpriced"
	}
	if k := c.cached; k != nil {
		e.CacheHit, e.CacheKey = "False", k.key
		if k.hit != nil {
			e.CacheHit, e.Saved = "True", k.hit.Cost
		}
	}
	c.keepBodies(e, o)
	c.rule(e)
	return e
}

func (c *call) remote() string {
	if c.conn == nil {
		return c.ctx.RemoteIP().String()
	}
	return c.conn.Remote()
}

// session is the session the call belongs to; the call's own id as the last
// resort, so that the column is never empty.
func (c *call) session() string {
	if c.req.session != "" {
		return c.req.session
	}
	return c.idText
}

// growReservation reserves ahead of a stream's output: it is asked when out
// tokens have been passed on and answers at which count to ask again. Each
// asking may wait for other calls to end, so where the budget gives no more the
// stream goes on as far as its hold pays, asks once more there, and ends.
func (c *call) growReservation(out int64) (ok bool, next int64) {
	row := c.served.Deployment.Price
	in := c.req.inputBound()
	held := c.held()
	if price.Max(row, in, out+growthMargin) <= held {
		return true, out + growthMargin/4
	}
	ahead := price.Max(row, in, out*2+4*growthMargin) - held
	least := max(price.Max(row, in, out+growthMargin/4)-held, 1)
	if c.growBy(ahead, least) == nil && c.amendIntent() {
		return true, out + growthMargin/4
	}
	last := price.AffordableOutput(row, in, held)
	return out < last, max(last, out+1)
}

// covered reports whether the reservation pays for out tokens.
func (c *call) covered(out int64) bool {
	return price.Max(c.served.Deployment.Price, c.req.inputBound(), out) <= c.held()
}

// amendIntent makes durable what a grown reservation may cost, before that is
// used: a kill must not charge a long stream at what it began with. The growth
// may have moved the call into a newer window of a budget.
func (c *call) amendIntent() bool {
	var buf [8]int64
	for i, w := range c.windows(buf[:0]) {
		c.charges[i].Window = w
	}
	in := c.intentRecord()
	in.Max, in.Deployment = c.held(), c.served.Deployment.ID
	ref, err := c.h.Ledger.Amend(c.intent, in)
	c.intent = ref
	if err != nil {
		c.h.Logger.Error("intent not amended", "call_id", c.idText, "error", err)
		return false
	}
	c.max = in.Max
	return true
}

// growthMargin is how many tokens a stream's reservation stays ahead.
const growthMargin = 256

// refused writes the row of a call that was refused before anything was sent.
// Refusals of the caller's own making (bad JSON, unknown model) are counted in
// the metrics only; LiteLLM writes rows for those that had a key.
func (c *call) refused(ref *refusal.Refusal) {
	c.unwatch()
	if c.settled {
		return
	}
	if c.reservation != nil {
		c.reservation.Cancel()
	}
	c.leaveLane()
	c.h.Metrics.refused(c, ref)
	if c.snap.Routing == nil || c.snap.Routing.Config.General.DisableErrorLogs || c.principal.KeyHash() == "" {
		return
	}
	now := c.h.Clock.Now()
	if !c.h.refusals.allow(c.principal.KeyHash(), now) {
		return
	}
	c.settled = true
	e := c.entryOf(outcome{status: store.Failure}, price.Cost{}, now)
	e.ErrorClass, e.ErrorCode, e.ErrorMessage = ref.Class, ref.CodeText(), ref.Message
	e.Charges, e.Max, e.Refused = nil, 0, refusedBy(c.denied, now)
	if _, err := c.h.Ledger.Settle(store.Ref{}, e); err != nil {
		c.h.Logger.Warn("refusal row not recorded", "call_id", c.idText, "error", err)
	}
}
