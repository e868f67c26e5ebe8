package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tollgate/node/run"
)

func newRestore(restore func(context.Context, run.RestoreOptions) error) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Make a data directory from a backup, for a node that then starts a new cluster with it; no node may run there",
		Example: "  tollgate restore tollgate.snapshot --data-dir /var/lib/tollgate",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, err := environment()
			if err != nil {
				return err
			}
			if _, err := fromEnv(cmd, env, nil, "data-dir"); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return mend(restore(ctx, run.RestoreOptions{File: args[0], DataDir: dir, Env: env, Out: cmd.OutOrStdout()}))
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "data", "`DIR` to fill")
	return cmd
}
