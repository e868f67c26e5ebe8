package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// object is one kind of thing the management API keeps, as commands see it.
type object struct {
	name, plural        string
	list, info          string // paths
	listQuery           url.Values
	create, update, del string
	idParam             string // of info's query
	idField             string // of update's body
	delField            string // of delete's body
	delMany             bool   // delete takes a list
	columns             []string
	fields              []fieldFlag
	example             string
}

// fieldFlag is a flag that becomes a field of the request body.
type fieldFlag struct {
	flag, field, help string
	kind              byte // s text, n number, l list, b bool
}

var limitFlags = []fieldFlag{
	{"max-budget", "max_budget", "`USD` that may be spent, or none", 'n'},
	{"budget-duration", "budget_duration", "`TIME` after which the budget resets, such as 30d", 's'},
	{"rpm", "rpm_limit", "requests a minute: a `NUMBER`, or none", 'n'},
	{"tpm", "tpm_limit", "tokens a minute: a `NUMBER`, or none", 'n'},
	{"parallel", "max_parallel_requests", "requests at once: a `NUMBER`, or none", 'n'},
}

func objects() []object {
	with := func(own ...fieldFlag) []fieldFlag { return append(own, limitFlags...) }
	return []object{
		{name: "key", plural: "virtual keys", list: "/key/list", listQuery: url.Values{"return_full_object": {"true"}, "size": {"100"}},
			info: "/key/info", create: "/key/generate", update: "/key/update", del: "/key/delete", idParam: "key", idField: "key", delField: "keys", delMany: true,
			columns: []string{"key_name", "key_alias", "user_id", "team_id", "spend", "max_budget", "rpm_limit", "models", "token"},
			fields: with(fieldFlag{"alias", "key_alias", "name for people", 's'}, fieldFlag{"user", "user_id", "owner", 's'}, fieldFlag{"team", "team_id", "team", 's'},
				fieldFlag{"models", "models", "models it may call, comma-separated", 'l'}, fieldFlag{"duration", "duration", "life time, such as 90d", 's'},
				fieldFlag{"blocked", "blocked", "refuse its calls", 'b'}),
			example: "tollgate key create --alias team-a --models gpt-4o,gpt-4o-mini --max-budget 50 --budget-duration 30d --rpm 600"},
		{name: "user", plural: "users", list: "/user/list", info: "/user/info", create: "/user/new", update: "/user/update", del: "/user/delete",
			idParam: "user_id", idField: "user_id", delField: "user_ids", delMany: true, columns: []string{"user_id", "user_email", "user_role", "spend", "max_budget", "models"},
			fields: with(fieldFlag{"id", "user_id", "id", 's'}, fieldFlag{"email", "user_email", "address", 's'}, fieldFlag{"role", "user_role", "proxy_admin, internal_user, …", 's'},
				fieldFlag{"models", "models", "models, comma-separated", 'l'}), example: "tollgate user create --id ada --email ada@example.com --max-budget 20"},
		{name: "team", plural: "teams", list: "/team/list", info: "/team/info", create: "/team/new", update: "/team/update", del: "/team/delete",
			idParam: "team_id", idField: "team_id", delField: "team_ids", delMany: true, columns: []string{"team_id", "team_alias", "spend", "max_budget", "models", "blocked"},
			fields:  with(fieldFlag{"id", "team_id", "id", 's'}, fieldFlag{"alias", "team_alias", "name for people", 's'}, fieldFlag{"models", "models", "models, comma-separated", 'l'}),
			example: "tollgate team create --alias research --max-budget 500 --budget-duration 30d"},
		{name: "budget", plural: "budgets", list: "/budget/list", info: "/budget/info", create: "/budget/new", update: "/budget/update", del: "/budget/delete",
			idParam: "budgets", idField: "budget_id", delField: "id", columns: []string{"budget_id", "max_budget", "budget_duration", "rpm_limit", "tpm_limit"},
			fields: with(fieldFlag{"id", "budget_id", "id", 's'}), example: "tollgate budget create --id gold --max-budget 100 --budget-duration 30d"},
		{name: "model", plural: "deployments", list: "/model/info", info: "/model/info", create: "/model/new", update: "/model/update", del: "/model/delete",
			idParam: "litellm_model_id", idField: "model_info.id", delField: "id", columns: []string{"model_name", "litellm_params.model", "model_info.id", "litellm_params.api_base"},
			fields: []fieldFlag{{"name", "model_name", "name clients use", 's'}, {"model", "litellm_params.model", "provider/model", 's'},
				{"api-base", "litellm_params.api_base", "address of the provider", 's'}, {"api-key", "litellm_params.api_key", "the provider's key, or os.environ/NAME", 's'}},
			example: "tollgate model create --name fast --model groq/llama-3.3-70b-versatile --api-key os.environ/GROQ_API_KEY"},
	}
}

// one is the object's name in a sentence.
func (o object) one() string { return strings.TrimSuffix(o.plural, "s") }

func newObjects() []*cobra.Command {
	var out []*cobra.Command
	for _, o := range objects() {
		out = append(out, o.command())
	}
	return out
}

func (o object) command() *cobra.Command {
	cmd := &cobra.Command{Use: o.name, Short: "Manage " + o.plural, Example: "  " + o.example, Args: cobra.NoArgs, RunE: helpOnly}
	addClientFlags(cmd)
	cmd.AddCommand(o.listCommand(), o.showCommand(), o.changeCommand("create", o.create, cobra.NoArgs), o.changeCommand("update", o.update, cobra.ExactArgs(1)), o.deleteCommand())
	if o.name == "key" {
		cmd.AddCommand(newBlockKey("block", "Refuse the calls of a key, at once and on every node"), newBlockKey("unblock", "Take the calls of a blocked key again"))
	}
	return cmd
}

func (o object) listCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List " + o.plural, Example: "  tollgate " + o.name + " list --output json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			v, err := c.call(http.MethodGet, o.list, o.listQuery, nil)
			if err != nil {
				return err
			}
			return c.show(v, o.columns)
		}}
}

func (o object) showCommand() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show a " + o.one(), Example: "  tollgate " + o.name + " show ID", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var v any
			if o.name == "budget" {
				v, err = c.call(http.MethodPost, o.info, nil, map[string]any{"budgets": args})
			} else {
				v, err = c.call(http.MethodGet, o.info, url.Values{o.idParam: args}, nil)
			}
			if err != nil {
				return err
			}
			return c.show(v, nil)
		}}
}

// changeCommand is create and update: flags become fields, --data gives any
// field of the API as JSON.
func (o object) changeCommand(verb, path string, args cobra.PositionalArgs) *cobra.Command {
	use := verb
	if verb == "update" {
		use = "update ID"
	}
	cmd := &cobra.Command{Use: use, Short: strings.ToUpper(verb[:1]) + verb[1:] + " a " + o.one(), Args: args, Example: "  " + strings.Replace(o.example, "create", use, 1)}
	for _, f := range o.fields {
		if f.kind == 'b' {
			cmd.Flags().Bool(f.flag, false, f.help)
			continue
		}
		cmd.Flags().String(f.flag, "", f.help)
	}
	cmd.Flags().String("data", "", "further fields of the API as `JSON`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		body, err := o.body(cmd)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			setPath(body, o.idField, args[0])
		}
		v, err := c.call(http.MethodPost, path, nil, body)
		if err != nil {
			return err
		}
		return c.show(v, nil)
	}
	return cmd
}

func (o object) deleteCommand() *cobra.Command {
	return &cobra.Command{Use: "delete ID…", Short: "Delete " + o.plural, Example: "  tollgate " + o.name + " delete ID", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if o.delMany {
				v, err := c.call(http.MethodPost, o.del, nil, map[string]any{o.delField: args})
				if err != nil {
					return err
				}
				return c.show(v, nil)
			}
			for _, id := range args {
				v, err := c.call(http.MethodPost, o.del, nil, map[string]any{o.delField: id})
				if err != nil {
					return err
				}
				if err := c.show(v, nil); err != nil {
					return err
				}
			}
			return nil
		}}
}

// body builds the request from the flags that were given.
func (o object) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	if data, _ := cmd.Flags().GetString("data"); data != "" {
		if err := json.Unmarshal([]byte(data), &body); err != nil {
			return nil, fmt.Errorf("--data is not a JSON object: %w", err)
		}
		if body == nil { // null is JSON, and no object
			return nil, errors.New("--data is not a JSON object: it is null")
		}
	}
	for _, f := range o.fields {
		if !cmd.Flags().Changed(f.flag) {
			continue
		}
		text := cmd.Flags().Lookup(f.flag).Value.String()
		switch f.kind {
		case 'n':
			if text == "none" {
				setPath(body, f.field, nil)
				continue
			}
			if c := strings.TrimLeft(text, "-"); c == "" || c[0] < '0' || c[0] > '9' || !json.Valid([]byte(text)) {
				return nil, fmt.Errorf("--%s %q: want a number, or none for no limit", f.flag, text)
			}
			setPath(body, f.field, json.Number(text))
		case 'l':
			setPath(body, f.field, strings.Split(text, ","))
		case 'b':
			setPath(body, f.field, text == "true")
		default:
			setPath(body, f.field, text)
		}
	}
	return body, nil
}

// setPath sets a dotted field of nested objects.
func setPath(m map[string]any, path string, v any) {
	head, rest, nested := strings.Cut(path, ".")
	if !nested {
		m[head] = v
		return
	}
	inner, ok := m[head].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[head] = inner
	}
	setPath(inner, rest, v)
}
