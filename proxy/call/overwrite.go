package call

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
)

// checkOverwrites looks at the fields with which the request's fallbacks would
// overwrite it: they obey the rules of the request, and what they may cost is
// within its bounds before anything is reserved.
func (c *call) checkOverwrites() *refusal.Refusal {
	for _, list := range [...][]route.Fallback{c.req.fallbacks, c.req.contextFallbacks, c.req.contentFallbacks} {
		for i := range list {
			if list[i].Fields == nil {
				continue
			}
			if ref := c.checkOverwrite(list[i].Fields); ref != nil {
				return ref
			}
		}
	}
	return nil
}

func (c *call) checkOverwrite(fields []byte) *refusal.Refusal {
	r := &c.req
	bytes, images := r.inputBytes, r.images
	defer func() { r.inputBytes, r.images = bytes, images }()
	it := jsonscan.Walk(fields)
	for k, raw, ok := it.Member(); ok; k, raw, ok = it.Member() {
		key := jsonscan.Name(k)
		if jsonscan.IsNull(raw) {
			continue
		}
		switch string(key) {
		case "api_base", "base_url", "api_key":
			return c.gatewayOnly(key)
		case "max_tokens", "max_completion_tokens", "max_output_tokens":
			v, isInt := jsonscan.Int(raw)
			if !isInt || v < 0 {
				return wrongType(key, "an integer")
			}
			if r.maxOutput > 0 { // else the model's own maximum is reckoned with
				r.maxOutput = max(r.maxOutput, min(v, most))
			}
		case "n", "best_of":
			v, isInt := jsonscan.Int(raw)
			if !isInt || v < 1 || v > 128 {
				return wrongType(key, "an integer from 1 to 128")
			}
			r.choices = max(r.choices, v)
		case "messages", "prompt", "input", "system", "tools", "functions", "response_format", "instructions", "suffix", "prediction":
			c.measure(raw)
		}
	}
	r.overwritten = max(r.overwritten, r.inputBytes-bytes+(r.images-images)*imageTokens)
	return nil
}

// overwrite appends the fields of a fallback that hold for the provider. The
// model is the deployment's, and a stream stays one.
func (c *call) overwrite(edits []jsonscan.Edit, fields []byte) []jsonscan.Edit {
	it := jsonscan.Walk(fields)
	for k, raw, ok := it.Member(); ok; k, raw, ok = it.Member() {
		key := jsonscan.Name(k)
		switch string(key) {
		case "model", "stream", "stream_options":
			continue
		}
		if !isGatewayField(c.op, key) {
			edits = append(edits, jsonscan.Edit{Key: string(key), Value: raw})
		}
	}
	return edits
}
