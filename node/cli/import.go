package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

const importPath = "/cluster/import/litellm"

func newImport() *cobra.Command {
	cmd := &cobra.Command{Use: "import", Short: "Take over what another gateway has", Args: cobra.NoArgs, RunE: helpOnly,
		Example: "  tollgate import litellm --from postgres://user:password@host:5432/litellm"}
	addClientFlags(cmd)
	cmd.AddCommand(newImportLiteLLM())
	return cmd
}

func newImportLiteLLM() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "litellm",
		Short: "Take over keys, users, teams, budgets and models of LiteLLM's database, with what each has spent; it is only read",
		Long: "Take over keys, users, teams, organizations, customers, tags, budgets and models out of the PostgreSQL database of\n" +
			"LiteLLM, with what each has spent in its running budget period. The database is only read, by the node at --addr.\n" +
			"What the cluster has already is left as it is, so the command may be repeated. Status 1 when something was left.",
		Example: "  tollgate import litellm --from postgres://user:password@host:5432/litellm\n" +
			"  DATABASE_URL=$(cat url) tollgate import litellm --addr http://node-2:4000",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			if from == "" {
				env, err := environment()
				if err != nil {
					return err
				}
				if from, _ = env("DATABASE_URL"); from == "" {
					return errors.New("no database: give LiteLLM's DATABASE_URL with --from, or in the environment")
				}
			}
			raw, err := c.fetch(http.MethodPost, importPath, nil, map[string]any{"from": from})
			if err != nil {
				return err
			}
			var i clusterapi.Import
			if err := json.Unmarshal(raw, &i); err != nil {
				return c.foreign(err)
			}
			return c.importUntilEnd(i, newProgress(cmd.ErrOrStderr()), pollEvery)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "`URL` of LiteLLM's database; without it DATABASE_URL of the environment, which other processes do not see")
	return cmd
}

// importUntilEnd looks at an import until it has ended, and tells what it gave.
// The import does not need anybody to look.
func (c *client) importUntilEnd(begun clusterapi.Import, p *progress, every time.Duration) error {
	for {
		var i clusterapi.Import
		raw, err := c.fetch(http.MethodGet, importPath, nil, nil)
		if err != nil {
			p.clear()
			return fmt.Errorf("the import has begun, and how far it is cannot be seen: %w", err)
		}
		if err := json.Unmarshal(raw, &i); err != nil {
			return c.foreign(err)
		}
		switch {
		case begun.Started == nil || i.Started == nil || !i.Started.Equal(*begun.Started) || i.Node != begun.Node:
			p.clear()
			return fmt.Errorf("%s answers for %s, which has not begun this import: give the node's own address with --addr, not a load balancer's; when %s was started again, run the command again",
				c.addr, cmp.Or(i.Node, "a node"), cmp.Or(begun.Node, "the node"))
		case i.State == clusterapi.ImportRunning:
			p.show(importing(&i))
			time.Sleep(every)
			continue
		}
		p.clear()
		if err := c.showOr(raw, &i, func() error { return writeImport(c.out, &i) }); err != nil {
			return err
		}
		return importFault(&i)
	}
}

func importing(i *clusterapi.Import) string {
	if i.Total == 0 {
		return "reading " + i.From
	}
	return fmt.Sprintf("%s %d of %d %s", bar(int64(i.Done), int64(i.Total), 20), i.Done, i.Total, i.What)
}

// importFault is what makes the command end with status 1.
func importFault(i *clusterapi.Import) error {
	if i.State == clusterapi.ImportFailed {
		return fmt.Errorf("the import ended early: %s; run it again, what was taken over stays", i.Error)
	}
	left := 0
	if i.Report != nil {
		for _, n := range i.Report.Left {
			left += n
		}
	}
	switch left {
	case 0:
		return nil
	case 1:
		return errors.New("1 object was not taken over: the reason stands above")
	}
	return fmt.Errorf("%d objects were not taken over: the reasons stand above", left)
}

// writeImport is the table of what a database gave, and why the rest was left.
func writeImport(out io.Writer, i *clusterapi.Import) error {
	r := i.Report
	if r == nil {
		return nil
	}
	kinds := map[string]bool{}
	for _, m := range []map[string]int{r.Taken, r.Existed, r.Left} {
		for kind := range m {
			kinds[kind] = true
		}
	}
	if len(kinds) == 0 {
		_, err := fmt.Fprintf(out, "nothing of LiteLLM's is in %s\n", i.From)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tTAKEN OVER\tEXISTED\tLEFT")
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", kind, r.Taken[kind], r.Existed[kind], r.Left[kind])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Reasons) > 0 {
		fmt.Fprintln(out)
	}
	for _, why := range r.Reasons {
		if _, err := fmt.Fprintln(out, why); err != nil {
			return err
		}
	}
	return nil
}
