package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"tollgate/config/file"
	"tollgate/proxy/server"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show a config.yaml, and manage the cluster's config", Example: "  tollgate config validate config/config.yaml",
		Args: cobra.NoArgs, RunE: helpOnly}
	cmd.PersistentFlags().StringP("config", "c", "", "config.yaml `FILE`, instead of the argument")
	cmd.AddCommand(newValidate(), newShow(), newConfigDiff(), newConfigApply(), newConfigHistory(), newConfigRollback())
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
	var effective, ofCluster bool
	cmd := &cobra.Command{
		Use:   "show [FILE | --cluster [N]]",
		Short: "Show a config as a node reads it, secrets masked; --effective lists the limits that apply unset",
		Example: "  tollgate config show config/config.yaml --effective\n" +
			"  tollgate config show --cluster\n" +
			"  tollgate config show --cluster 12",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ofCluster {
				if effective {
					return errors.New("--effective is for a file: leave --cluster or --effective out")
				}
				return showClusterConfig(cmd, args)
			}
			_, loaded, err := loadFile(cmd, args)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			shown, err := file.Masked(loaded.Config)
			if err != nil {
				return fmt.Errorf("show the config: %w", err)
			}
			if err := enc.Encode(shown); err != nil || !effective {
				return err
			}
			return enc.Encode(map[string]any{"limits_that_nobody_set": server.Bounds(loaded.Config)})
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&effective, "effective", false, "also list the bounds that protect the process")
	cmd.Flags().BoolVar(&ofCluster, "cluster", false, "the cluster's active config, or version N of its history")
	return cmd
}

// showClusterConfig prints a config of the cluster's history as JSON.
func showClusterConfig(cmd *cobra.Command, args []string) error {
	c, err := newClusterClient(cmd)
	if err != nil {
		return err
	}
	path := "/cluster/config"
	if len(args) == 1 {
		number, err := versionNumber(args[0])
		if err != nil {
			return err
		}
		path += "/" + number
	}
	v, err := c.call(http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	c.output = "json" // a config is no table
	return c.show(v, nil)
}

// versionNumber checks the number of a config version before it goes into a path.
func versionNumber(text string) (string, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is no config version: `tollgate config history` lists their numbers", text)
	}
	return strconv.FormatUint(n, 10), nil
}

// loadFile reads a config with the environment that serve would use, and prints
// what is worth a warning. The file is the argument, else --config or what
// stands for it in the environment.
func loadFile(cmd *cobra.Command, args []string) (string, *file.Loaded, error) {
	env, err := environment()
	if err != nil {
		return "", nil, err
	}
	if _, err := fromEnv(cmd, env, serveAlso, "config", "effective"); err != nil {
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
	warn(cmd, loaded)
	return path, loaded, nil
}

// warn prints what a config has that does not stop it.
func warn(cmd *cobra.Command, loaded *file.Loaded) {
	for _, f := range loaded.Skipped {
		fmt.Fprintln(cmd.ErrOrStderr(), "skipped:", f)
	}
	for _, f := range loaded.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", f)
	}
}
