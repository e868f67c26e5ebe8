// Package cli is the command line: one file a command. Commands read flags and
// the environment, and either run a node or talk to one over its public API.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tollgate/node/run"
)

// Version is set at build time.
var Version = "dev"

// Main runs one command and returns the exit status.
func Main(args []string, out, errOut io.Writer) int {
	return execute(newRoot(out, errOut, nodeFuncs{serve: run.Serve, restore: run.Restore, recovery: run.Recover}), args, errOut)
}

// execute runs the command that args name; an error is one line on errOut.
func execute(root *cobra.Command, args []string, errOut io.Writer) int {
	root.SetArgs(withDefaultCommand(root, args))
	if err := root.Execute(); err != nil {
		var said *silent
		if !errors.As(err, &said) {
			fmt.Fprintln(errOut, "tollgate:", err)
		}
		return 1
	}
	return 0
}

// silent is an error whose text has been shown already.
type silent struct{ error }

// nodeFuncs are what commands do on this machine, without a node to ask. A
// command whose function is nil is not there.
type nodeFuncs struct {
	serve    serveFunc
	restore  func(context.Context, run.RestoreOptions) error
	recovery func(context.Context, run.RecoverOptions) error
}

// newRoot builds the tree of commands.
func newRoot(out, errOut io.Writer, n nodeFuncs) *cobra.Command {
	root := &cobra.Command{
		Use:           "tollgate",
		Short:         "A gateway for large language models: one API, many providers, money that adds up",
		SilenceUsage:  true,
		SilenceErrors: true,
		Example:       "  tollgate serve --config config/config.yaml\n  tollgate key create --alias team-a --max-budget 50",
		Args:          cobra.NoArgs,
		RunE:          helpOnly,
	}
	root.SetFlagErrorFunc(flagError)
	root.SetOut(out)
	root.SetErr(errOut)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServe(n.serve), newJoin(n.serve), newVersion(), newConfig())
	root.AddCommand(newObjects()...)
	root.AddCommand(newSpend(), newExplain(), newLedger())
	root.AddCommand(newToken(), newMembers(), newStatus(), newDrain(), newLeave(), newForget(), newTransferLeadership(),
		newSecrets(), newGossip(), newBackup(), newSnapshot(), newImport())
	if n.restore != nil {
		root.AddCommand(newRestore(n.restore))
	}
	if n.recovery != nil {
		root.AddCommand(newRecover(n.recovery))
	}
	return root
}

// withDefaultCommand lets flags without a command mean serve, as LiteLLM's
// images are started: tollgate --config /app/config.yaml --port 4000.
func withDefaultCommand(root *cobra.Command, args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return args
	}
	switch args[0] {
	case "-h", "--help":
		return args
	case "-v", "--version":
		return []string{"version"}
	}
	return append([]string{"serve"}, args...)
}

// helpOnly is a command that only holds others: alone it shows its help, and a
// name that it does not hold is an error instead of help that hides the slip.
func helpOnly(cmd *cobra.Command, _ []string) error { return cmd.Help() }
