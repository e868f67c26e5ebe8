package admin

import (
	"tollgate/ledger/verify"
	"tollgate/proxy/refusal"
)

// spendVerify recounts the books. It is meant for the command line, which waits.
func spendVerify(c *call) *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	if c.a.Verify == nil {
		return refusal.New(501, "not_implemented", refusal.None, "This node cannot recount its books.")
	}
	if !c.a.verifying.CompareAndSwap(false, true) {
		return refusal.New(409, "conflict", refusal.None, "The books are being recounted already; wait for that to end.")
	}
	defer c.a.verifying.Store(false)
	report, err := c.a.Verify(c.background())
	if err != nil {
		return c.unread(err)
	}
	return c.ok(struct {
		OK bool `json:"ok"`
		*verify.Report
	}{report.OK(), report})
}
