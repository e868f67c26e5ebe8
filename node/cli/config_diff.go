package cli

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newConfigDiff() *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Show how a file differs from the cluster's config; without FILE, the file of the node that is asked",
		Example: "  tollgate config diff config/config.yaml\n" +
			"  tollgate config diff --addr http://node-2:4000 --exit-code",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			body, err := brought(cmd, args)
			if err != nil {
				return err
			}
			method := http.MethodPost
			if body == nil {
				method = http.MethodGet
			}
			raw, err := c.fetch(method, "/cluster/config/diff", nil, orNothing(body))
			if err != nil {
				return err
			}
			var d clusterapi.ConfigDiff
			if err := c.showOr(raw, &d, func() error { return c.sayDiff(&d) }); err != nil {
				return err
			}
			if exitCode && !d.Same {
				return &silent{errors.New("the configs differ")}
			}
			return nil
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with status 1 when they differ")
	return cmd
}

// sayDiff prints a line a difference: + is only in the file, - only in the
// cluster, ~ in both.
func (c *client) sayDiff(d *clusterapi.ConfigDiff) error {
	if d.Same {
		return c.say("the same: the cluster has just that, as version %d (%.12s)", d.Version, d.ClusterHash)
	}
	what := "the file"
	if d.File != "" {
		what = d.File
	}
	if err := c.say("from the cluster's version %d (%.12s) to %s (%.12s):", d.Version, d.ClusterHash, what, d.FileHash); err != nil {
		return err
	}
	for _, l := range d.Changes {
		var err error
		switch l.Kind {
		case "added":
			err = c.say("+ %s%s", l.Path, valued(l.File))
		case "removed":
			err = c.say("- %s%s", l.Path, valued(l.Cluster))
		default:
			err = c.say("~ %s: %s -> %s", l.Path, cell(l.Cluster), cell(l.File))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func valued(v string) string {
	if v == "" {
		return ""
	}
	return fmt.Sprintf(": %s", v)
}

// orNothing is a body, or none: a nil map would be sent as null.
func orNothing(body map[string]any) any {
	if body == nil {
		return nil
	}
	return body
}
