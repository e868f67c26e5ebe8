package file

import (
	"encoding/json"
	"strings"

	"tollgate/config/model"
)

// mask stands in for every secret that is shown.
const mask = "****"

// Masked is a config as JSON values with every secret replaced.
func Masked(cfg *model.Config) (any, error) {
	v, err := plain(cfg)
	if err != nil {
		return nil, err
	}
	return masked(v, ""), nil
}

// plain is a config as JSON values.
func plain(cfg *model.Config) (any, error) {
	raw, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// masked replaces secrets in place. section is the top-level name the value
// stands under: all environment variables count as secret.
func masked(v any, name string) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			switch {
			case name == "environment_variables" || name == "credentials":
				t[k] = hidden(e)
			case hides(k):
				t[k] = hidden(e)
			default:
				t[k] = masked(e, k)
			}
		}
	case []any:
		for i, e := range t {
			t[i] = masked(e, name)
		}
	}
	return v
}

func hides(name string) bool {
	return IsSecretParam(name) || strings.HasSuffix(name, "_hash")
}

// hidden masks a secret of any shape; what is empty shows as it is.
func hidden(v any) any {
	switch t := v.(type) {
	case nil, bool:
		return v
	case string:
		if t == "" {
			return v
		}
	case map[string]any:
		for k, e := range t {
			t[k] = hidden(e)
		}
		return t
	}
	return mask
}
