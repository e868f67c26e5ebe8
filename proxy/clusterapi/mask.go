package clusterapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/secret"
)

// hidden stands in place of every secret.
const hidden = "****"

// masked is a config version as JSON values without secrets. The cluster masks
// already; a second look here costs nothing, and a secret that slipped through
// could not be called back.
func masked(v *model.ConfigVersion) (jsontext.Value, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode config version %d: %w", v.Number, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("read config version %d: %w", v.Number, err)
	}
	m, _ := out.(map[string]any)
	if m["config"] != nil {
		m["config"] = mask(m["config"], false)
	}
	shown, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode config version %d masked: %w", v.Number, err)
	}
	return shown, nil
}

// mask hides texts: those under a secret's name with all that is below it, and
// sealed ones wherever they stand.
func mask(v any, inSecret bool) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			t[k] = mask(e, inSecret || file.IsSecretParam(k) || strings.HasSuffix(k, "_hash"))
		}
	case []any:
		for i, e := range t {
			t[i] = mask(e, inSecret)
		}
	case string:
		if t != "" && (inSecret || secret.IsSealed(t)) {
			return hidden
		}
	}
	return v
}
