package cli

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newLeave() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:     "leave",
		Short:   "Take a node out of the cluster for good: it drains, gives back what it holds and stops",
		Example: "  tollgate leave --addr http://node-3:4000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var s clusterapi.Status
			if err := c.get("/cluster/status", &s); err != nil {
				return err
			}
			var answer struct{ Leaving bool }
			// Named, so that nobody else goes when a balancer stands between.
			shown, err := c.ask(http.MethodPost, "/cluster/leave", nil, map[string]any{"node": s.NodeID}, &answer)
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr())
			if !shown {
				p.show(s.Name + " is leaving")
			}
			if wait <= 0 {
				return nil
			}
			return c.untilGone(p, &s, wait, pollEvery)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait until it has left; 0 waits not at all")
	return cmd
}

// untilGone waits until a leaving node answers no more: it stops when it has
// left. Silence is no proof of that.
func (c *client) untilGone(p *progress, leaving *clusterapi.Status, atMost, every time.Duration) error {
	end, name := time.Now().Add(atMost), leaving.Name
	for {
		var s clusterapi.Status
		var gone *absent
		var silence net.Error
		err := c.get("/cluster/status", &s)
		switch {
		case errors.As(err, &gone) && !(errors.As(err, &silence) && silence.Timeout()),
			err == nil && s.NodeID != leaving.NodeID: // a balancer asks somebody else by now
			p.end(name + " has left")
			return nil
		case err == nil: // a node that is going may answer anything but this
			p.show(name + " is leaving: " + inFlight(s.InFlight))
		}
		if time.Now().After(end) {
			p.clear()
			return fmt.Errorf("%s has not been seen to leave within %s: it goes on leaving; see `tollgate members` on another node", name, atMost)
		}
		time.Sleep(every)
	}
}
