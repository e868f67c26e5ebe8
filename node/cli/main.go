// Package cli is the command line: one file a command. Commands read flags and
// the environment, and either run a node or talk to one over its public API.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Version is set at build time.
var Version = "dev"

// Main runs one command and returns the exit status.
func Main(args []string, out, errOut io.Writer) int {
	root := newRoot(out, errOut)
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

func newRoot(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "tollgate",
		Short:         "A gateway for large language models: one API, many providers, money that adds up",
		SilenceUsage:  true,
		SilenceErrors: true,
		Example:       "  tollgate serve --config config/config.yaml\n  tollgate key create --alias team-a --max-budget 50",
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServe(), newVersion(), newConfig())
	root.AddCommand(newObjects()...)
	root.AddCommand(newSpend())
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

// fromEnv fills flags that were not given from TOLLGATE_<FLAG>, or from one of
// the other names that LiteLLM users have set.
func fromEnv(cmd *cobra.Command, other map[string][]string) error {
	var err error
	cmd.Flags().VisitAll(func(f *flagT) {
		if f.Changed || err != nil {
			return
		}
		names := append([]string{"TOLLGATE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}, other[f.Name]...)
		for _, name := range names {
			if v, ok := os.LookupEnv(name); ok && v != "" {
				if e := cmd.Flags().Set(f.Name, v); e != nil {
					err = fmt.Errorf("%s=%q: %w", name, v, e)
				}
				return
			}
		}
	})
	return err
}
