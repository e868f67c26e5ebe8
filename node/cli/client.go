package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tollgate/config/file"
)

// client talks to a node's public management API with the admin key.
type client struct {
	addr   string
	key    string
	output string
	out    io.Writer
	http   http.Client
}

// addClientFlags gives a command the flags of every client command.
func addClientFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.String("addr", "http://127.0.0.1:4000", "`URL` of a node")
	f.String("output", "table", "table or json")
}

// newClient reads the flags and LITELLM_MASTER_KEY. Only the flags of the
// connection come from the environment: a node's own TOLLGATE_NAME must not
// rename a model, nor TOLLGATE_KEY choose one.
func newClient(cmd *cobra.Command) (*client, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	if _, err := fromEnv(cmd, env, nil, "addr", "output"); err != nil {
		return nil, err
	}
	addr, _ := cmd.Flags().GetString("addr")
	output, _ := cmd.Flags().GetString("output")
	if output != "table" && output != "json" {
		return nil, fmt.Errorf("--output %q: want table or json", output)
	}
	c, err := connect(env, addr)
	if err != nil {
		return nil, err
	}
	c.output, c.out = output, cmd.OutOrStdout()
	return c, nil
}

// connect makes a client of the node at an address.
func connect(env file.Env, addr string) (*client, error) {
	key, _ := env("LITELLM_MASTER_KEY")
	if key == "" {
		return nil, fmt.Errorf("no admin key: set LITELLM_MASTER_KEY; a node that made its own keeps it in master.key of its data directory")
	}
	return &client{addr: strings.TrimRight(addr, "/"), key: key, http: http.Client{Timeout: 30 * time.Second}}, nil
}

// call sends one request and decodes the answer's JSON.
func (c *client) call(method, path string, query url.Values, body any) (any, error) {
	raw, err := c.fetch(method, path, query, body)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// fetch sends one request and gives the answer, which is JSON.
func (c *client) fetch(method, path string, query url.Values, body any) ([]byte, error) {
	res, err := c.open(method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	if _, err := decode(raw); err != nil {
		return nil, fmt.Errorf("%s%s answered %s: %.200s", c.addr, path, res.Status, raw)
	}
	return raw, nil
}

// open sends one request and gives the answer as it comes. The caller closes
// its body.
func (c *client) open(method, path string, query url.Values, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		payload = bytes.NewReader(raw)
	}
	target := c.addr + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequest(method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", c.addr, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &absent{c.addr, err}
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	v, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s answered %s: %.200s", target, res.Status, raw)
	}
	return nil, fmt.Errorf("%s: %s", res.Status, messageOf(v))
}

// absent says that nobody answers at an address.
type absent struct {
	addr string
	err  error
}

// Error says what to do about it.
func (a *absent) Error() string {
	return fmt.Sprintf("no node answers at %s (%v): start one with `tollgate serve` or name another with --addr", a.addr, a.err)
}

// Unwrap is what the connection said.
func (a *absent) Unwrap() error { return a.err }

// decode reads JSON with its numbers as they stand.
func decode(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// messageOf finds the sentence in an error body of any of LiteLLM's shapes.
func messageOf(v any) string {
	if m, ok := v.(map[string]any); ok {
		if e, ok := m["error"].(map[string]any); ok {
			if s, ok := e["message"].(string); ok {
				return s
			}
		}
		if s, ok := m["detail"].(string); ok {
			return s
		}
		if s := fieldFaults(m["detail"]); s != "" {
			return s
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// fieldFaults puts the wrong fields of a request into one sentence.
func fieldFaults(v any) string {
	list, _ := v.([]any)
	var parts []string
	for _, e := range list {
		m, _ := e.(map[string]any)
		loc, _ := m["loc"].([]any)
		msg, _ := m["msg"].(string)
		if len(loc) < 2 || msg == "" {
			return ""
		}
		names := make([]string, 0, len(loc))
		for _, l := range loc[1:] { // the first says body or query
			names = append(names, cell(l))
		}
		parts = append(parts, strings.Join(names, ".")+": "+strings.TrimPrefix(msg, "Value error, "))
	}
	return strings.Join(parts, "; ")
}

// show prints an answer: whole as JSON, or the named columns of its rows.
func (c *client) show(v any, columns []string) error {
	if c.output == "json" {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	if columns == nil {
		return writeFields(c.out, v)
	}
	return writeTable(c.out, rowsOf(v), columns)
}

// rowsOf finds the list in an answer: itself, or its first field that is one.
func rowsOf(v any) []any {
	switch t := v.(type) {
	case []any:
		return t
	case map[string]any:
		for _, name := range []string{"keys", "users", "teams", "budgets", "data", "customers"} {
			if list, ok := t[name].([]any); ok {
				return list
			}
		}
		return []any{t}
	}
	return nil
}
