package audit

import (
	"encoding/json"
	"strings"

	"tollgate/config/file"
	"tollgate/config/secret"
)

// What stands in the place of a secret; the second one says that it was another
// before.
const (
	mask        = "[redacted]"
	maskChanged = "[redacted, changed]"
)

// hashes are members whose names sound like secrets and which hold none: the
// hash by which a key is known everywhere.
var hashes = map[string]bool{"token": true}

// masked is a copy of a value without its secrets, given the value that stood
// there before, so that a changed secret can be told from one that stayed.
func masked(v, before any) any { return maskAt("", v, before, true) }

func maskAt(name string, v, before any, top bool) any {
	secretName := file.IsSecretParam(name) && !(top && hashes[name])
	switch v := v.(type) {
	case map[string]any:
		was, _ := before.(map[string]any)
		if v == nil {
			return v
		}
		out := make(map[string]any, len(v))
		for member, value := range v {
			// What an object is for does not make its members public: credentials
			// are given as objects too.
			inner := member
			if secretName && name != "" {
				inner = name
			}
			clean := member
			if s := secret.Mask(member); s != member {
				clean = s
			}
			out[clean] = maskAt(inner, value, was[member], name == "" && top)
		}
		return out
	case []any:
		was, _ := before.([]any)
		out := make([]any, len(v))
		for i, value := range v {
			var old any
			if i < len(was) {
				old = was[i]
			}
			out[i] = maskAt(name, value, old, false)
		}
		return out
	case string:
		return maskText(v, before, secretName)
	case json.Number, float64, int64, uint64, int:
		if secretName {
			return maskText("0", before, true)
		}
	}
	return v
}

func maskText(s string, before any, secretName bool) any {
	whole := mask
	if was, ok := before.(string); ok && was != s {
		whole = maskChanged
	}
	switch {
	case secretName && s != "" && !strings.HasPrefix(s, "os.environ/"):
		return whole
	case strings.Contains(s, "sealed:"):
		return whole
	}
	return secret.Mask(s)
}
