package call

import "time"

// watchAfter is how long a provider may take before the client's connection is
// watched: most short calls are answered sooner and never pay for the watch.
const watchAfter = 20 * time.Millisecond

// watchClient begins, a moment after the provider was asked, to wait for the
// client's leaving.
func (c *call) watchClient() {
	if c.conn == nil {
		return
	}
	conn, epoch := c.conn, c.conn.Arm()
	c.watch = time.AfterFunc(watchAfter, func() { conn.Watch(epoch, c.clientGone) })
}

// clientGone cancels what runs upstream. The goroutine that reads there settles.
func (c *call) clientGone() {
	if c.snap.Routing.Config.Tollgate.DrainUpstream || c.claimed != nil {
		return // the answer is wanted: by the books, or when the key comes again
	}
	if c.canceled.CompareAndSwap(false, true) {
		c.gone <- struct{}{} // holds one: nobody may be waiting
		if x := c.current.Load(); x != nil {
			x.Cancel()
		}
	}
}

// unwatch gives the connection back before fasthttp reads it again.
func (c *call) unwatch() {
	if c.watch == nil {
		return
	}
	if !c.watch.Stop() {
		c.conn.Unwatch()
	}
	c.watch = nil
}
