package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tollgate/config/file"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show a config.yaml", Example: "  tollgate config validate config/config.yaml",
		Args: cobra.NoArgs, RunE: helpOnly}
	cmd.PersistentFlags().StringP("config", "c", "", "config.yaml `FILE`, instead of the argument")
	cmd.AddCommand(newValidate(), newShow())
	return cmd
}

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:     "validate [FILE]",
		Short:   "Check a config.yaml: every fault at once, each with its line",
		Example: "  tollgate config validate config/config.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, loaded, err := loadFile(cmd, args)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %d deployments, hash %.12s\n", path, len(loaded.Config.Deployments), loaded.Hash)
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
		Use:     "show [FILE]",
		Short:   "Show a config.yaml as a node reads it, secrets masked; --effective lists the limits that apply unset",
		Example: "  tollgate config show config/config.yaml --effective",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, loaded, err := loadFile(cmd, args)
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
// what is worth a warning. The file is the argument, else --config or what
// stands for it in the environment.
func loadFile(cmd *cobra.Command, args []string) (string, *file.Loaded, error) {
	env, err := environment()
	if err != nil {
		return "", nil, err
	}
	if _, err := fromEnv(cmd, env, serveAlso); err != nil {
		return "", nil, err
	}
	path, _ := cmd.Flags().GetString("config")
	if len(args) == 1 {
		path = args[0]
	}
	if path == "" {
		return "", nil, fmt.Errorf("no file: name one, as in `%s config/config.yaml`", cmd.CommandPath())
	}
	loaded, err := file.Load(path, env)
	if err != nil {
		return "", nil, err
	}
	for _, f := range loaded.Skipped {
		fmt.Fprintln(cmd.ErrOrStderr(), "skipped:", f)
	}
	for _, f := range loaded.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", f)
	}
	return path, loaded, nil
}
