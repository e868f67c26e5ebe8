package cli

import (
	"net/http"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newConfigApply() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make a file the cluster's config on every node; without FILE, the file of the node that is asked, read anew",
		Example: "  tollgate config apply config/config.yaml\n" +
			"  tollgate config apply --addr http://node-1:4000",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			body, err := brought(cmd, args)
			if err != nil {
				return err
			}
			var done struct {
				Changed bool `json:"changed"`
				clusterapi.ConfigInfo
			}
			if shown, err := c.ask(http.MethodPost, "/cluster/config/apply", nil, orNothing(body), &done); err != nil || shown {
				return err
			}
			if !done.Changed {
				return c.say("nothing to do: the cluster has just that, as version %d (%.12s)", done.Number, done.Hash)
			}
			return c.say("applied as version %d (%.12s); `tollgate config rollback N` brings an old one back", done.Number, done.Hash)
		},
	}
	addClientFlags(cmd)
	return cmd
}
