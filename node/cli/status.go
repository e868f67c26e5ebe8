package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newStatus() *cobra.Command {
	var watch, ready bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show a node and its cluster on one page",
		Example: "  tollgate status\n  tollgate status --watch --addr http://node-2:4000\n  tollgate status --ready",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ready {
				return tellReady(cmd)
			}
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			if !watch {
				return c.statusPage(nil)
			}
			if every <= 0 {
				return errors.New("--interval must be more than nothing, such as 2s")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return c.watchStatus(ctx, every, isTerminal(c.out))
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, with how the load went")
	cmd.Flags().BoolVar(&ready, "ready", false, "only say in one word whether the node may take traffic, and end with status 1 when it may not; needs no key")
	cmd.MarkFlagsMutuallyExclusive("ready", "watch")
	cmd.Flags().DurationVar(&every, "interval", 2*time.Second, "time between two pages of --watch")
	return cmd
}

// past is what --watch remembers of earlier pages.
type past struct {
	inFlight, applied []int64
	last              uint64
}

const pastPages = 40

func (p *past) add(inFlight int64, applied uint64) {
	if p.last != 0 && applied >= p.last {
		p.applied = tail(append(p.applied, int64(applied-p.last)))
	}
	p.last = applied
	p.inFlight = tail(append(p.inFlight, inFlight))
}

func tail(v []int64) []int64 { return v[max(0, len(v)-pastPages):] }

// watchStatus shows the page until ctx ends. A node that is away for a while,
// as during an update, is shown as that.
func (c *client) watchStatus(ctx context.Context, every time.Duration, terminal bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	out, history := c.out, &past{}
	for {
		var page strings.Builder
		c.out = &page
		if err := c.statusPage(history); err != nil {
			fmt.Fprintln(&page, err)
		}
		c.out = out
		text := page.String() + "\n"
		if terminal { // a whole page at once does not flicker
			text = "\x1b[H\x1b[2J" + page.String()
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *client) statusPage(history *past) error {
	var s clusterapi.Status
	if shown, err := c.ask(http.MethodGet, "/cluster/status", nil, nil, &s); err != nil || shown {
		return err
	}
	var list memberList
	err := c.get("/cluster/members", &list)
	if err != nil {
		// The node itself has answered: its page is worth more than none.
		s.Problems = append(s.Problems, "the members are not known: "+err.Error())
	}
	return writeStatus(c.out, &s, list.Members, history)
}

// barWidth is how wide the bars of the page are.
const barWidth = 20

func writeStatus(out io.Writer, s *clusterapi.Status, members []clusterapi.Member, history *past) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("cluster", "%s%s", s.ClusterID, clusterTraits(s))
	row("leader", "%s", leaderLine(s))
	quorum := "a majority is there"
	if !s.Quorum {
		quorum = "NO MAJORITY: nothing can be changed"
	}
	row("voters", "%d, %s", s.Voters, quorum)
	row("nodes", "%s %d of %d alive", bar(int64(s.Alive), int64(s.Nodes), barWidth), s.Alive, s.Nodes)
	row("state", "index %d, %d to apply", s.Applied, s.Commit-min(s.Applied, s.Commit))
	row("config", "%s", configLine(s))
	row("this node", "%s, %s, %s, %s%s", s.Name, place(s.Region, s.Zone), cell(s.Version), s.State, readiness(s))
	row("in flight", "%d", s.InFlight)
	if history != nil {
		history.add(s.InFlight, s.Applied)
		row("  went", "%s  peak %d", sparkline(history.inFlight), highest(history.inFlight))
		row("  changes", "%s  peak %d a page", sparkline(history.applied), highest(history.applied))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := writeLoad(out, s, members); err != nil {
		return err
	}
	return writeProblems(out, s, members)
}

func clusterTraits(s *clusterapi.Status) string {
	var b strings.Builder
	if s.Profile != "" {
		b.WriteString(", timing for " + s.Profile)
	}
	if s.Generation > 0 {
		fmt.Fprintf(&b, ", recovered %d×", s.Generation)
	}
	if s.Feature > 0 {
		fmt.Fprintf(&b, ", feature level %d", s.Feature)
	}
	return b.String()
}

func leaderLine(s *clusterapi.Status) string {
	switch {
	case s.Leader == "" && s.LeaderID == "":
		return fmt.Sprintf("NONE KNOWN, term %d", s.Term)
	case s.LeaderID == s.NodeID:
		return fmt.Sprintf("%s (this node), term %d", s.Leader, s.Term)
	}
	return fmt.Sprintf("%s, heard %s ago, term %d", cell(s.Leader), time.Duration(s.LeaderAgeMS)*time.Millisecond, s.Term)
}

func configLine(s *clusterapi.Status) string {
	if s.ConfigVersion == 0 && s.ConfigHash == "" {
		return "none yet"
	}
	alike := "the same on every node that is alive"
	if !s.ConfigAlike {
		alike = "NOT THE SAME on every node"
	}
	return fmt.Sprintf("version %d (%.12s), %s", s.ConfigVersion, s.ConfigHash, alike)
}

func readiness(s *clusterapi.Status) string {
	switch {
	case s.Draining:
		return ", draining"
	case !s.Ready && s.Reason != "":
		return ", NOT READY: " + s.Reason
	case !s.Ready:
		return ", NOT READY"
	}
	return ", ready"
}

func highest(values []int64) int64 {
	var top int64
	for _, v := range values {
		top = max(top, v)
	}
	return top
}

// writeLoad is a line a node: how it is, what it carries, how far it is behind.
func writeLoad(out io.Writer, s *clusterapi.Status, members []clusterapi.Member) error {
	if len(members) == 0 {
		return nil
	}
	var busiest int64
	for _, m := range members {
		busiest = max(busiest, m.InFlight)
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tREGION\tRAFT\tSTATE\tIN FLIGHT\tBEHIND\tRTT")
	for _, m := range members {
		name := m.Name
		if m.Self {
			name += "*"
		}
		behind := "-"
		if m.Applied > 0 {
			behind = fmt.Sprint(s.Commit - min(m.Applied, s.Commit))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s %d\t%s\t%s\n", name, place(m.Region, m.Zone), cell(m.Raft), stateSince(m),
			bar(m.InFlight, busiest, barWidth/2), m.InFlight, behind, roundTrip(m.RTTMillis))
	}
	return w.Flush()
}

// writeProblems ends the page with what needs a person.
func writeProblems(out io.Writer, s *clusterapi.Status, members []clusterapi.Member) error {
	problems := s.Problems
	for _, m := range members {
		if s.ConfigHash != "" && m.ConfigHash != "" && m.State == "alive" && !strings.HasPrefix(s.ConfigHash, m.ConfigHash) && !strings.HasPrefix(m.ConfigHash, s.ConfigHash) {
			problems = append(problems, fmt.Sprintf("%s runs config %.12s, this node %.12s", m.Name, m.ConfigHash, s.ConfigHash))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(out, "\nproblems"); err != nil {
		return err
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(out, "  -", p); err != nil {
			return err
		}
	}
	return nil
}
