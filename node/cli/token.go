package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Manage join tokens: invitations for new nodes", Example: "  tollgate token create", Args: cobra.NoArgs, RunE: helpOnly}
	addClientFlags(cmd)
	cmd.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke())
	return cmd
}

func newTokenCreate() *cobra.Command {
	var ttl time.Duration
	var uses int
	var role string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a join token; it stands alone on the last line of the output",
		Example: "  tollgate token create --ttl 1h --uses 2\n" +
			"  tollgate token create --role witness --output json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var made struct {
				Token string `json:"token"`
				clusterapi.TokenInfo
			}
			shown, err := c.ask(http.MethodPost, "/cluster/token", nil, map[string]any{"ttl": ttl.String(), "uses": uses, "role": role}, &made)
			if err != nil || shown {
				return err
			}
			nodes := "one node"
			if made.Uses > 1 {
				nodes = fmt.Sprintf("%d nodes", made.Uses)
			}
			return c.say("For %s until %s. On the new machine:\n  tollgate join %s --token %s\n%s", nodes,
				made.Expires.UTC().Format(time.RFC3339), c.doors(), made.Token, made.Token)
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is good, 1m to 24h")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many nodes may join with it")
	cmd.Flags().StringVar(&role, "role", "node", "node, or witness: a voter that serves no requests")
	return cmd
}

// doors are cluster ports to join at: of a few living nodes, so that one of
// them may be away. A token is good without this hint.
func (c *client) doors() string {
	var list struct{ Members []clusterapi.Member }
	var addrs []string
	if err := c.get("/cluster/members", &list); err == nil {
		for _, m := range list.Members {
			if m.Addr != "" && (m.State == "alive" || m.Self) && len(addrs) < 3 {
				addrs = append(addrs, m.Addr)
			}
		}
	}
	if len(addrs) == 0 {
		return "HOST:7946"
	}
	return strings.Join(addrs, ",")
}

func newTokenList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the join tokens that are still good", Example: "  tollgate token list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var list struct{ Tokens []clusterapi.TokenInfo }
			if shown, err := c.ask(http.MethodGet, "/cluster/tokens", nil, nil, &list); err != nil || shown {
				return err
			}
			w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tROLE\tUSES LEFT\tEXPIRES\tBY")
			for _, t := range list.Tokens {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", t.ID, t.Role, t.Uses, t.Expires.UTC().Format(time.RFC3339), cell(t.By))
			}
			return w.Flush()
		}}
}

func newTokenRevoke() *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "Take a join token back; nodes that joined with it stay", Example: "  tollgate token revoke ID", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Revoked string }
			if shown, err := c.ask(http.MethodDelete, "/cluster/tokens", url.Values{"id": args}, nil, &answer); err != nil || shown {
				return err
			}
			return c.say("revoked: %s", answer.Revoked)
		}}
}
