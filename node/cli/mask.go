package cli

import (
	"encoding/json"
	"strings"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/proxy/server"
)

// masked is a config as JSON values with every secret replaced.
func masked(cfg *model.Config) any {
	raw, err := json.Marshal(cfg)
	if err != nil { // a config that was just read is plain data
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return mask(v, "")
}

func mask(v any, name string) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			t[k] = mask(e, k)
		}
	case []any:
		for i, e := range t {
			t[i] = mask(e, name)
		}
	case string:
		if t != "" && (file.IsSecretParam(name) || name == "database_url" || strings.HasSuffix(name, "_hash")) {
			return "****"
		}
	}
	return v
}

// effectiveLimits are the bounds of a node, set or not.
func effectiveLimits(cfg *model.Config) map[string]any {
	return server.Bounds(cfg)
}
