package cli

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newConfigHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "history",
		Short:   "List the versions of the cluster's config; the active one has a star",
		Example: "  tollgate config history",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var list struct{ Versions []clusterapi.ConfigInfo }
			if shown, err := c.ask(http.MethodGet, "/cluster/config/history", nil, nil, &list); err != nil || shown {
				return err
			}
			w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "VERSION\tHASH\tAT\tNODE\tBY\tNOTE")
			for _, v := range list.Versions {
				star := ""
				if v.Active {
					star = "*"
				}
				fmt.Fprintf(w, "%d%s\t%.12s\t%s\t%s\t%s\t%s\n", v.Number, star, v.Hash, v.At.UTC().Format(time.RFC3339), cell(v.Node), cell(v.By), cell(v.Note))
			}
			return w.Flush()
		},
	}
	addClientFlags(cmd)
	return cmd
}
