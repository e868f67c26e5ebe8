package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

// newBlockKey is key block and key unblock.
func newBlockKey(verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " KEY", Short: short, Example: "  tollgate key " + verb + " sk-…", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			v, err := c.call(http.MethodPost, "/key/"+verb, nil, map[string]any{"key": args[0]})
			if err != nil {
				return err
			}
			return c.show(v, nil)
		}}
}
