package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func newGossip() *cobra.Command {
	cmd := &cobra.Command{Use: "gossip", Short: "Manage the key under which nodes talk about each other", Example: "  tollgate gossip rotate-key", Args: cobra.NoArgs, RunE: helpOnly}
	addClientFlags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use: "rotate-key", Short: "Change the gossip key on every node, step by step", Example: "  tollgate gossip rotate-key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			c.http.Timeout = 0 // each step waits for every node
			res, err := c.open(http.MethodPost, "/cluster/gossip/rotate", nil, nil)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			return c.followSteps(res.Body)
		},
	})
	return cmd
}

// followSteps prints the steps of an operation as they come. Only a line that
// says so ends it well: an answer that breaks off has not told the end.
func (c *client) followSteps(body io.Reader) error {
	dec := json.NewDecoder(body)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s broke off before the end (%w): the node goes on; see its log, or do it again", c.addr, err)
		}
		var line struct {
			Step  string
			Done  bool
			Error *struct{ Message, Code string }
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return fmt.Errorf("%s answered what this release does not understand: %w", c.addr, err)
		}
		if c.output == "json" {
			if err := c.say("%s", raw); err != nil {
				return err
			}
		}
		switch {
		case line.Error != nil:
			return errors.New(line.Error.Message)
		case line.Done && c.output == "json":
			return nil
		case line.Done:
			return c.say("done")
		case c.output != "json":
			if err := c.say("%s", line.Step); err != nil {
				return err
			}
		}
	}
}
