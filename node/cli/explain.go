package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// explainOptions say which call is explained.
type explainOptions struct{ key, model, body, route string }

func newExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [REQUEST-ID]",
		Short: "Say why a call would be admitted or refused and where it would go, or what became of one",
		Example: "  tollgate explain --key sk-1234 --model gpt-4o\n  tollgate explain --key ci --body request.json\n" +
			"  tollgate explain 0199c2f4-6f0e-7a10-8d58-2f1b6f1f7c11",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := o.question(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			return c.explain(ask, cmd)
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "the `KEY` that would call, its hash or its alias (default: the admin key)")
	f.StringVar(&o.model, "model", "", "the `MODEL` that would be called")
	f.StringVar(&o.body, "body", "", "`FILE` with the body of the call, - for standard input (default: a short question)")
	f.StringVar(&o.route, "route", "/chat/completions", "the `ROUTE` that would be called")
	return cmd
}

// question is what the node is asked.
func (o *explainOptions) question(args []string, stdin io.Reader) (map[string]any, error) {
	if len(args) == 1 {
		if o.key != "" || o.model != "" || o.body != "" {
			return nil, fmt.Errorf("a request id says all of a call: leave out --key, --model and --body")
		}
		return map[string]any{"request_id": args[0]}, nil
	}
	if o.model == "" && o.body == "" {
		return nil, fmt.Errorf("which call? Give a REQUEST-ID, or --key and --model, or a --body that names the model")
	}
	ask := map[string]any{"route": o.route}
	for name, v := range map[string]string{"key": o.key, "model": o.model} {
		if v != "" {
			ask[name] = v
		}
	}
	if o.body == "" {
		return ask, nil
	}
	raw, err := readAll(o.body, stdin)
	if err != nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("--body %s: this is no JSON", o.body)
	}
	ask["body"] = json.RawMessage(raw)
	return ask, nil
}

func readAll(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		raw, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return raw, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return raw, nil
}

func (c *client) explain(ask map[string]any, cmd *cobra.Command) error {
	res, err := c.open(http.MethodPost, "/utils/explain", nil, ask)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for _, w := range warnings(res.Header) {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	v, err := decode(raw)
	if err != nil {
		return fmt.Errorf("%s/utils/explain answered what is no JSON: %.200s", c.addr, raw)
	}
	if c.output == "json" {
		return c.show(v, nil)
	}
	m, _ := v.(map[string]any)
	if _, err := io.WriteString(c.out, drawn(m)); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}

// drawn is an explanation for people.
func drawn(m map[string]any) string {
	calls, several := m["calls"].([]any)
	switch {
	case m["verdict"] != nil:
		return picture(m)
	case !several:
		return traced(m)
	}
	var b strings.Builder
	for _, t := range objectsOf(calls) {
		b.WriteString(traced(t) + "\n")
	}
	return b.String() + cell(m["summary"]) + "\n"
}
