package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tollgate/config/file"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show a config.yaml", Example: "  tollgate config validate config/config.yaml"}
	cmd.AddCommand(newValidate(), newShow())
	return cmd
}

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:     "validate FILE",
		Short:   "Check a config.yaml: every fault at once, each with its line",
		Example: "  tollgate config validate config/config.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := loadFile(cmd, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %d deployments, hash %.12s\n", args[0], len(loaded.Config.Deployments), loaded.Hash)
			if len(loaded.Skipped) > 0 {
				return &silent{errors.New("entries were skipped")}
			}
			return nil
		},
	}
}

func newShow() *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use:     "show FILE",
		Short:   "Show a config.yaml as a node reads it, secrets masked; --effective lists the limits that apply unset",
		Example: "  tollgate config show config/config.yaml --effective",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := loadFile(cmd, args[0])
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if err := enc.Encode(masked(loaded.Config)); err != nil || !effective {
				return err
			}
			return enc.Encode(map[string]any{"limits_that_nobody_set": effectiveLimits(loaded.Config)})
		},
	}
	cmd.Flags().BoolVar(&effective, "effective", false, "also list the bounds that protect the process")
	return cmd
}

// loadFile reads a config with the environment that serve would use, and prints
// what is worth a warning.
func loadFile(cmd *cobra.Command, path string) (*file.Loaded, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	loaded, err := file.Load(path, env)
	if err != nil {
		return nil, err
	}
	for _, f := range loaded.Skipped {
		fmt.Fprintln(cmd.ErrOrStderr(), "skipped:", f)
	}
	for _, f := range loaded.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", f)
	}
	return loaded, nil
}
