package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newForget() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "forget NODE",
		Short:   "Take out a node that is gone for good, by name or id; one that runs leaves with leave",
		Example: "  tollgate forget node-3\n  tollgate forget node-3 --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			question := args[0] + " will never come back: what it holds of limits and budgets is freed, and its ledger is taken from its copy"
			if err := sure(cmd.InOrStdin(), cmd.ErrOrStderr(), yes, question, args[0]); err != nil {
				return err
			}
			var answer struct{ Forgotten string }
			if shown, err := c.ask(http.MethodPost, "/cluster/forget", nil, map[string]any{"node": args[0]}, &answer); err != nil || shown {
				return err
			}
			return c.say("forgotten: %s", answer.Forgotten)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
