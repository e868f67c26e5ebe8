package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newTransferLeadership() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "transfer-leadership [NODE]",
		Short:   "Hand leadership to a voter, by name or id, or to any other",
		Example: "  tollgate transfer-leadership node-2",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			body := map[string]any{}
			if len(args) == 1 {
				body["to"] = args[0]
			}
			var answer struct{ Leader string }
			if shown, err := c.ask(http.MethodPost, "/cluster/transfer-leadership", nil, body, &answer); err != nil || shown {
				return err
			}
			return c.say("leader: %s", cell(answer.Leader))
		},
	}
	addClientFlags(cmd)
	return cmd
}
