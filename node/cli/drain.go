package cli

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newDrain() *cobra.Command {
	var off bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:     "drain",
		Short:   "Let a node take no new traffic while it goes on running; --off takes it again",
		Example: "  tollgate drain --addr http://node-2:4000 --wait 2m\n  tollgate drain --off",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			if off && wait > 0 {
				return errors.New("--off has nothing to wait for: leave --wait out")
			}
			var answer struct{ Draining bool }
			shown, err := c.ask(http.MethodPost, "/cluster/drain", nil, map[string]any{"on": !off}, &answer)
			switch {
			case err != nil:
				return err
			case !shown && answer.Draining:
				err = c.say("the node drains: it says that it is not ready, and finishes what it has")
			case !shown:
				err = c.say("the node takes traffic")
			}
			if err != nil || wait <= 0 {
				return err
			}
			return c.untilIdle(newProgress(cmd.ErrOrStderr()), wait, pollEvery)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&off, "off", false, "end draining")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until nothing is in flight; 0 waits not at all")
	return cmd
}

// pollEvery is the time between two looks at a node that is waited for.
const pollEvery = 500 * time.Millisecond

// untilIdle waits until a node has nothing in flight.
func (c *client) untilIdle(p *progress, atMost, every time.Duration) error {
	end := time.Now().Add(atMost)
	for {
		var s clusterapi.Status
		if err := c.get("/cluster/status", &s); err != nil {
			return err
		}
		if s.InFlight == 0 {
			p.end("nothing is in flight")
			return nil
		}
		p.show(inFlight(s.InFlight))
		if time.Now().After(end) {
			return fmt.Errorf("%s after %s: wait longer with --wait, or stop the node, which cuts them at the end of its --drain-timeout", inFlight(s.InFlight), atMost)
		}
		time.Sleep(every)
	}
}

func inFlight(n int64) string {
	if n == 1 {
		return "1 call in flight"
	}
	return fmt.Sprintf("%d calls in flight", n)
}
