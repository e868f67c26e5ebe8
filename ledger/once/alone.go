package once

import (
	"context"
	"fmt"
)

// agree has a command applied: by all nodes, or, while a node of the cluster is of
// a release that would stop at it, by this one alone. Keys that were claimed alone
// stay so: only this node knows who has them.
func (d *Desk) agree(ctx context.Context, c *Command) (*Answer, error) {
	if d.Alone() {
		return d.apart(c)
	}
	if d.single.Len() == 0 {
		return d.cfg.Propose(ctx, AppendCommand(nil, c))
	}
	mine, others := *c, *c
	mine.Ops, others.Ops = nil, nil
	known := d.single.which(d.cfg.Clock.Now(), c.Ops)
	for i, o := range c.Ops {
		if known[i] {
			mine.Ops = append(mine.Ops, o)
		} else {
			others.Ops = append(others.Ops, o)
		}
	}
	told := make([]Told, len(c.Ops))
	for _, part := range []struct {
		alone bool
		c     *Command
		do    func() (*Answer, error)
	}{
		{true, &mine, func() (*Answer, error) { return d.apart(&mine) }},
		{false, &others, func() (*Answer, error) { return d.cfg.Propose(ctx, AppendCommand(nil, &others)) }},
	} {
		if len(part.c.Ops) == 0 {
			continue
		}
		a, err := part.do()
		switch {
		case err != nil:
			return nil, err
		case a.Err != nil:
			return a, nil
		case len(a.Told) != len(part.c.Ops):
			return nil, fmt.Errorf("%d answers to %d operations", len(a.Told), len(part.c.Ops))
		}
		for i, n := 0, 0; i < len(told); i++ {
			if known[i] == part.alone {
				told[i] = a.Told[n]
				n++
			}
		}
	}
	return &Answer{Told: told}, nil
}

// Alone reports whether a key holds on this node only, until it ends: a member is
// of a release that does not know claims.
func (d *Desk) Alone() bool { return d.cfg.Agreed != nil && !d.cfg.Agreed() }

// apart applies a command to what this node remembers for itself.
func (d *Desk) apart(c *Command) (*Answer, error) {
	a, ok := d.single.Apply(0, d.cfg.Clock.Now(), Version, AppendCommand(nil, c)).(*Answer)
	if !ok {
		return nil, fmt.Errorf("a command of this node's own is not understood")
	}
	return a, nil
}
