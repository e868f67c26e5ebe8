package clusterapi

import (
	"math"
	"strconv"
	"strings"

	"tollgate/config/model"
	"tollgate/proxy/refusal"
)

// noConfig is told while the cluster has none, which is only before its first
// node has proposed.
const noConfig = "The cluster has no configuration yet: apply one with `tollgate config apply FILE`."

func (c *call) config() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	v, err := c.h.Cluster.Config(ctx)
	return c.showConfig(v, err, noConfig)
}

func (c *call) configVersion() *refusal.Refusal {
	missing := "There is no config version " + c.param + ": /cluster/config/history lists those that are kept."
	n, err := strconv.ParseUint(c.param, 10, 64)
	if err != nil || n == 0 {
		return refusal.New(404, "not_found_error", "version", missing)
	}
	ctx, cancel := c.bounded()
	defer cancel()
	v, err := c.h.Cluster.ConfigVersion(ctx, n)
	return c.showConfig(v, err, missing)
}

func (c *call) showConfig(v *model.ConfigVersion, err error, missing string) *refusal.Refusal {
	if err != nil {
		return c.failed(err)
	}
	if v == nil {
		return refusal.New(404, "not_found_error", "version", missing)
	}
	shown, err := masked(v)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(shown)
}

func (c *call) configHistory() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	list, err := c.h.Cluster.ConfigHistory(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(struct {
		Versions []ConfigInfo `json:"versions"`
	}{list})
}

func (c *call) configRollback() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	number := f.whole("version", 1, math.MaxInt64, 0)
	if _, there := f.raw["version"]; !there {
		f.fault("version", "missing", "Field required")
	}
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	info, err := c.h.Cluster.ConfigRollback(ctx, number, c.who())
	if err != nil {
		return c.failed(err)
	}
	return c.done(200, info, "to", number, "version", info.Number)
}

// configText reads the config that a caller brings; nil text is the node's own
// file. Only a config brings an environment: the node's own has the node's.
func (c *call) configText() (text []byte, env map[string]string, r *refusal.Refusal) {
	f, r := c.form()
	if r != nil {
		return nil, nil, r
	}
	s, given := f.text("text")
	env = f.textMap("env")
	switch {
	case given && strings.TrimSpace(s) == "":
		f.invalid("text", "text must not be empty: leave it out for the node's own file")
	case given:
		text = []byte(s)
	case env != nil && len(f.faults) == 0:
		f.invalid("env", "env resolves the references of text, which is not there")
	}
	for name := range env {
		if name == "" || strings.ContainsAny(name, "= \t\n\x00") {
			f.invalid("env/"+name, "this is no name of an environment variable")
		}
	}
	return text, env, c.check(f)
}

func (c *call) configDiff() *refusal.Refusal {
	text, env, r := c.configText()
	if r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	diff, err := c.h.Cluster.ConfigDiff(ctx, text, env)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(diff)
}

func (c *call) configApply() *refusal.Refusal {
	text, env, r := c.configText()
	if r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	info, changed, err := c.h.Cluster.ConfigApply(ctx, text, env, c.who())
	if err != nil {
		return c.failed(err)
	}
	return c.done(200, struct {
		Changed bool `json:"changed"`
		ConfigInfo
	}{changed, info}, "version", info.Number, "changed", changed)
}
