package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// spendBy are the ways to sum spend, with the route and columns of each.
var spendBy = map[string]struct {
	path    string
	columns []string
}{
	"total": {"/global/spend", []string{"spend", "max_budget"}},
	"key":   {"/spend/keys", []string{"key_alias", "key_name", "spend", "max_budget", "token"}},
	"user":  {"/spend/users", []string{"user_id", "spend", "max_budget"}},
	"tag":   {"/spend/tags", []string{"individual_request_tag", "log_count", "total_spend"}},
	"model": {"/global/spend/models", []string{"model", "total_spend"}},
	"day":   {"/global/spend/logs", []string{"date", "spend"}},
}

func newSpend() *cobra.Command {
	var by, key, request string
	cmd := &cobra.Command{
		Use:     "spend",
		Short:   "Show what was spent, in all or by key, user, tag, model or day",
		Example: "  tollgate spend --by key\n  tollgate spend --request chatcmpl-123",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			way, ok := spendBy[by]
			query := url.Values{}
			switch {
			case request != "":
				way.path, way.columns = "/spend/logs", nil
				query.Set("request_id", request)
			case key != "":
				way.path, way.columns = "/spend/logs", []string{"startTime", "model", "total_tokens", "spend", "status", "request_id"}
				query.Set("api_key", key)
				query.Set("summarize", "false")
			case !ok:
				return fmt.Errorf("--by %q: want total, key, user, tag, model or day", by)
			}
			v, err := c.call(http.MethodGet, way.path, query, nil)
			if err != nil {
				return err
			}
			return c.show(v, way.columns)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&by, "by", "total", "total, key, user, tag, model or day")
	cmd.Flags().StringVar(&key, "key", "", "the calls of one `KEY` (or its hash)")
	cmd.Flags().StringVar(&request, "request", "", "one call by its request `ID`")
	return cmd
}
