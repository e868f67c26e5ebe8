package cli

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newConfigRollback() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rollback N",
		Short:   "Make an old version of the cluster's config the newest",
		Example: "  tollgate config rollback 12",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			number, err := versionNumber(args[0])
			if err != nil {
				return err
			}
			var v clusterapi.ConfigInfo
			if shown, err := c.ask(http.MethodPost, "/cluster/config/rollback", nil, map[string]any{"version": json.Number(number)}, &v); err != nil || shown {
				return err
			}
			return c.say("version %s runs again, as version %d (%.12s)", number, v.Number, v.Hash)
		},
	}
	addClientFlags(cmd)
	return cmd
}
