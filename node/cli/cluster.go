package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// patience is how long a command waits for an operation on the cluster: longer
// than the node itself, which then says what went wrong.
const patience = 75 * time.Second

// newClusterClient is a client with patience.
func newClusterClient(cmd *cobra.Command) (*client, error) {
	c, err := newClient(cmd)
	if err != nil {
		return nil, err
	}
	c.http.Timeout = patience
	return c, nil
}

// ask sends one request. With --output json the answer is printed as it is and
// shown is true; else it is read into v, for the command to lay out.
func (c *client) ask(method, path string, query url.Values, body, v any) (shown bool, err error) {
	raw, err := c.fetch(method, path, query, body)
	if err != nil {
		return false, err
	}
	err = c.showOr(raw, v, nil)
	return c.output == "json", err
}

// showOr reads an answer into v and prints it: whole as JSON, else by layout.
func (c *client) showOr(raw []byte, v any, layout func() error) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return c.foreign(err)
	}
	if c.output == "json" {
		whole, err := decode(raw)
		if err != nil {
			return c.foreign(err)
		}
		return c.show(whole, nil)
	}
	if layout == nil {
		return nil
	}
	return layout()
}

func (c *client) foreign(err error) error {
	return fmt.Errorf("%s answered what this release does not understand (%w): use a tollgate of the node's release", c.addr, err)
}

// get reads an answer for the command's own use, whatever --output says.
func (c *client) get(path string, v any) error {
	raw, err := c.fetch(http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return c.foreign(err)
	}
	return nil
}

// say prints one line of a command's answer.
func (c *client) say(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}
