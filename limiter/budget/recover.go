package budget

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// closeChunk is how many sums one Close carries.
const closeChunk = 1000

// Recovery is what this node's ledger knows of its earlier starts.
type Recovery struct {
	// Settled yields, per earlier start, budget and window, the sum of what was
	// settled and the maximum of every intent left open. It may yield sums of
	// starts that are long closed; the bank ignores them.
	Settled iter.Seq[Settled]
	// WriteOff charges all credit that the earlier starts held, because the
	// machine went down and the last settlements may not have reached its disk.
	WriteOff bool
}

// Start registers this start of the node and closes the books of the earlier
// ones. It tries until it has an answer or ctx ends; until then the earlier
// starts' credit stays counted, so nothing is lost by waiting.
func (a *Account) Start(ctx context.Context, rec Recovery) error {
	c := Command{Op: OpRegister, Node: a.cfg.Node, Incarnation: a.cfg.Incarnation}
	if err := a.insist(ctx, &c); err != nil {
		return fmt.Errorf("register at the budget bank: %w", err)
	}
	c = Command{Op: OpClose, Node: a.cfg.Node, Incarnation: a.cfg.Incarnation, WriteOff: rec.WriteOff}
	if rec.Settled != nil {
		for s := range rec.Settled {
			c.Settled = append(c.Settled, s)
			if len(c.Settled) == closeChunk {
				if err := a.insist(ctx, &c); err != nil {
					return fmt.Errorf("close earlier budget books: %w", err)
				}
				c.Settled = c.Settled[:0]
			}
		}
	}
	c.Final = true
	if err := a.insist(ctx, &c); err != nil {
		return fmt.Errorf("close earlier budget books: %w", err)
	}
	return nil
}

// Flush reports everything that has been settled, for an orderly stop. Run must
// have ended.
func (a *Account) Flush(ctx context.Context) error {
	a.askMu.Lock()
	var recs []*record
	for r := range a.active {
		recs = append(recs, r)
	}
	a.askMu.Unlock()
	c := Command{Op: OpBatch, Node: a.cfg.Node, Incarnation: a.cfg.Incarnation}
	for _, r := range recs {
		r.mu.Lock()
		if r.window != CurrentWindow {
			if idle := r.avail(); !r.gone && !r.soft && idle > 0 {
				r.r += idle
			}
			c.Items = append(c.Items, Item{Scope: r.scope, Window: r.window, S: r.s, R: r.r, Want: r.g, Call: r.call})
		}
		r.mu.Unlock()
	}
	for len(c.Items) > 0 {
		part := c
		part.Items = c.Items[:min(len(c.Items), batchItems)]
		c.Items = c.Items[len(part.Items):]
		if err := a.insist(ctx, &part); err != nil {
			return fmt.Errorf("report budgets: %w", err)
		}
	}
	return nil
}

// Leave takes this node off the bank's books after a Flush.
func (a *Account) Leave(ctx context.Context) error {
	a.fenced.Store(true)
	if err := a.insist(ctx, &Command{Op: OpLeave, Node: a.cfg.Node}); err != nil {
		return fmt.Errorf("leave the budget bank: %w", err)
	}
	return nil
}

// insist proposes until there is an answer. Every command can be repeated.
func (a *Account) insist(ctx context.Context, c *Command) error {
	payload := AppendCommand(nil, c)
	for {
		once, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
		ans, err := a.cfg.Propose(once, payload)
		cancel()
		if err == nil {
			return ans.Err
		}
		a.cfg.Log.Debug("budget command failed", "op", int(c.Op), "error", err)
		t := time.NewTimer(a.cfg.Retry)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%w (last: %v)", ctx.Err(), err)
		case <-t.C:
		}
	}
}
