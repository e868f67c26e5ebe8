package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tollgate/cluster/fsm"
)

func newSnapshot() *cobra.Command {
	cmd := &cobra.Command{Use: "snapshot", Short: "Look at a backup", Example: "  tollgate snapshot verify tollgate.snapshot", Args: cobra.NoArgs, RunE: helpOnly}
	var output string
	verify := &cobra.Command{
		Use:     "verify FILE",
		Short:   "Read a backup to its end, check it, and say what it is; no node is needed",
		Example: "  tollgate snapshot verify tollgate.snapshot",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q: want table or json", output)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("open the backup: %w", err)
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			st, err := f.Stat()
			if err != nil {
				return fmt.Errorf("look at the backup: %w", err)
			}
			head, count, err := fsm.Verify(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			c := &client{output: output, out: cmd.OutOrStdout()}
			facts := snapshotFacts(args[0], st.Size(), head, count)
			if output == "json" {
				return c.show(facts, nil)
			}
			return c.say("%s: good: %s, %d records, the state of cluster %s at index %d, %s", args[0], sizeText(st.Size()), count, head.ClusterID, head.Index, facts["at"])
		},
	}
	verify.Flags().StringVar(&output, "output", "table", "table or json")
	cmd.AddCommand(verify)
	return cmd
}
