package cli

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newMembers() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "members",
		Short:   "List the nodes of the cluster, as they seem from the node that is asked",
		Example: "  tollgate members\n  tollgate members --addr http://node-2:4000 --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var list memberList
			if shown, err := c.ask(http.MethodGet, "/cluster/members", nil, nil, &list); err != nil || shown {
				return err
			}
			return writeMembers(c.out, list.Members)
		},
	}
	addClientFlags(cmd)
	return cmd
}

type memberList struct {
	Members []clusterapi.Member `json:"members"`
}

// writeMembers is the table of members; the node that was asked has a star.
func writeMembers(out io.Writer, members []clusterapi.Member) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tREGION\tROLE\tRAFT\tSTATE\tADDRESS\tAPI\tVERSION\tAPPLIED\tIN FLIGHT\tRTT\tCERTIFICATE")
	for _, m := range members {
		name := m.Name
		if m.Self {
			name += "*"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", name, m.ID, place(m.Region, m.Zone), cell(m.Role), cell(m.Raft), stateSince(m),
			cell(m.Addr), cell(m.API), cell(m.Version), counted(m.Applied), m.InFlight, roundTrip(m.RTTMillis), day(m.CertExpires))
	}
	return w.Flush()
}

func place(region, zone string) string {
	if zone != "" {
		return region + "/" + zone
	}
	return cell(region)
}

// stateSince is a state with its beginning, where that is news: everybody is
// alive since some time.
func stateSince(m clusterapi.Member) string {
	if m.Since == nil || m.State == "alive" {
		return cell(m.State)
	}
	return m.State + " since " + m.Since.UTC().Format("2006-01-02 15:04:05Z")
}

func counted(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

func roundTrip(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
}

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return "to " + t.UTC().Format(time.DateOnly)
}
