package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tollgate/node/run"
)

func newRecover(recovery func(context.Context, run.RecoverOptions) error) *cobra.Command {
	var dir, peers string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Give a node a cluster again after most voters are lost for good; it must be stopped, and the lost ones must never start again",
		Example: "  tollgate recover --data-dir /var/lib/tollgate\n" +
			"  tollgate recover --data-dir /var/lib/tollgate --peers peers.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := environment()
			if err != nil {
				return err
			}
			// Not --peers: a node's TOLLGATE_PEERS are addresses, and no file.
			if _, err := fromEnv(cmd, env, nil, "data-dir"); err != nil {
				return err
			}
			// A script has nobody to ask, and has typed the directory.
			question := "What the lost voters knew and " + dir + " does not is given up, and they can never come back with their data"
			if in := cmd.InOrStdin(); isTerminal(in) && !yes {
				if err := confirm(in, cmd.ErrOrStderr(), question, "recover"); err != nil {
					return err
				}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return mend(recovery(ctx, run.RecoverOptions{DataDir: dir, PeersFile: peers, Env: env, Out: cmd.OutOrStdout()}))
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "data", "`DIR` of the node")
	cmd.Flags().StringVar(&peers, "peers", "", "`FILE` that lists who belongs to the cluster from now on (default: this node alone)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
