package file

import (
	"encoding/json"
	"fmt"
	"strings"

	"tollgate/config/model"
)

// ResolveParams replaces os.environ/NAME in parameters given over the API, as
// the file reader does for those of a file. A variable that is not set is a
// fault here: who sends it is there to be told.
func ResolveParams(p model.Params, env Env) (model.Params, error) {
	out := make(model.Params, len(p))
	for name, raw := range p {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			out[name] = raw // not text: no reference
			continue
		}
		ref, ok := strings.CutPrefix(text, reference)
		if !ok {
			out[name] = raw
			continue
		}
		v, set := env(strings.TrimSpace(ref))
		if !set || v == "" {
			return nil, fmt.Errorf("%s: environment variable %s is not set on this node", name, ref)
		}
		quoted, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = quoted
	}
	return out, nil
}
