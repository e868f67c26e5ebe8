package clusterapi

import (
	"tollgate/proxy/refusal"
)

func (c *call) members() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	list, err := c.h.Cluster.Members(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(struct {
		Members []Member `json:"members"`
	}{list})
}

func (c *call) status() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	s, err := c.h.Cluster.Status(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(s)
}

func (c *call) drain() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	on, given := f.boolean("on")
	if !given {
		on = true
	}
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if err := c.h.Cluster.Drain(ctx, on); err != nil {
		return c.failed(err)
	}
	return c.done(200, struct {
		Draining bool `json:"draining"`
	}{on}, "on", on)
}

// leave answers 202: the node goes on draining when the caller has its answer.
// Whoever names the node that is to go does not lose another one when a balancer
// chooses who is asked.
func (c *call) leave() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	node := f.name("node", false)
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if node != "" {
		here, err := c.h.Cluster.Status(ctx)
		if err != nil {
			return c.failed(err)
		}
		if node != here.NodeID && node != here.Name {
			return c.failed(&Fault{Status: 409, Code: "other_node", Message: "This is " + here.Name + " and not " + node +
				", and a node leaves only when it is asked itself: name its own address, not that of a load balancer."})
		}
	}
	if err := c.h.Cluster.Leave(ctx); err != nil {
		return c.failed(err)
	}
	return c.done(202, struct {
		Leaving bool `json:"leaving"`
	}{true})
}

func (c *call) forget() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	node := f.name("node", true)
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	if err := c.h.Cluster.Forget(ctx, node); err != nil {
		return c.failed(err)
	}
	return c.done(200, struct {
		Forgotten string `json:"forgotten"`
	}{node}, "node", node)
}

func (c *call) transferLeadership() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	to := f.name("to", false)
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	leader, err := c.h.Cluster.TransferLeadership(ctx, to)
	if err != nil {
		return c.failed(err)
	}
	return c.done(200, struct {
		Leader string `json:"leader"`
	}{leader}, "leader", leader)
}
