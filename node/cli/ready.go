package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tollgate/config/file"
)

// readyWithin is less than what container engines give a health check by
// default: the word must be out before they end it.
const readyWithin = 5 * time.Second

var errUnready = errors.New("the node may not take traffic")

// tellReady prints in one word whether a node may take traffic, and needs no
// admin key for it: health checks of containers run it.
func tellReady(cmd *cobra.Command) error {
	env, err := environment()
	if err != nil {
		return err
	}
	if _, err := fromEnv(cmd, env, nil, "addr", "output"); err != nil {
		return err
	}
	addr, _ := cmd.Flags().GetString("addr")
	if !cmd.Flags().Changed("addr") {
		addr = ownAddress(env, addr)
	}
	c := &client{addr: strings.TrimRight(addr, "/"), out: cmd.OutOrStdout(), http: http.Client{Timeout: readyWithin}}
	switch c.output, _ = cmd.Flags().GetString("output"); c.output {
	case "table", "json":
	default:
		return fmt.Errorf("--output %q: want table or json", c.output)
	}
	word, why := c.readiness()
	if c.output == "json" {
		facts := map[string]any{"ready": word == "ready", "state": word}
		if why != "" {
			facts["reason"] = why
		}
		err = c.show(facts, nil)
	} else {
		err = c.say("%s", word)
	}
	if err == nil && word != "ready" {
		err = &silent{errUnready}
	}
	return err
}

// ownAddress is where the node of this machine answers by its variables: inside
// a container they are what the node itself was started with.
func ownAddress(env file.Env, otherwise string) string {
	if listen, _ := env("TOLLGATE_LISTEN"); listen != "" {
		host, port, err := net.SplitHostPort(listen)
		if err != nil {
			return otherwise
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return "http://" + net.JoinHostPort(host, port)
	}
	if port, _ := env("PORT"); port != "" {
		return "http://" + net.JoinHostPort("127.0.0.1", port)
	}
	return otherwise
}

// readiness is the word for how a node is, and the node's own reason.
func (c *client) readiness() (word, why string) {
	res, err := c.http.Get(c.addr + "/health/readiness")
	if err != nil {
		return "absent", err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return "ready", ""
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return "absent", err.Error()
	}
	var v struct {
		Error struct{ Code string }
	}
	if json.Unmarshal(raw, &v) != nil {
		return "unready", res.Status
	}
	why = res.Status
	if parsed, err := decode(raw); err == nil {
		why = messageOf(parsed)
	}
	switch {
	case v.Error.Code == "starting":
		return "starting", why
	case strings.Contains(why, "(draining)"):
		return "draining", why
	}
	return "unready", why
}
