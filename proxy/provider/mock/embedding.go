package mock

import (
	"bytes"
	"strconv"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/provider"
)

// embedding gives every input a vector: the one in text if it is a JSON list
// of numbers, else one derived from the input, the same each time.
func embedding(c *provider.Call, text string) *provider.Answer {
	dims := int64(1536)
	if n, ok := number(c, "dimensions"); ok {
		dims = min(n, 8192)
	}
	format, _ := c.Fields.Get("encoding_format")
	out := []byte(`{"object":"list","data":[`)
	for i, input := range inputs(c) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"object":"embedding","index":`...)
		out = strconv.AppendInt(out, int64(i), 10)
		out = append(out, `,"embedding":`...)
		out = appendVector(out, vector(text, input, int(dims)), string(format) == `"base64"`)
		out = append(out, '}')
	}
	u := price.Usage{InUncached: c.InputEstimate, Known: true, Estimated: true}
	out = jsonscan.AppendQuoted(append(out, `],"model":`...), c.PublicName)
	out = openai.AppendEmbeddingUsage(append(out, `,"usage":`...), &u)
	return &provider.Answer{Body: append(out, '}'), ID: "embd-" + c.CallID, Model: c.Model, Usage: u}
}

// inputs are the raw inputs of an embedding call: one text, several, or token ids.
func inputs(c *provider.Call) [][]byte {
	raw, _ := c.Fields.Get("input")
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '[' {
		return [][]byte{raw}
	}
	var list [][]byte
	for it := jsonscan.Walk(raw); ; {
		v, ok := it.Element()
		if !ok {
			return list
		}
		if len(v) > 0 && v[0] != '"' && v[0] != '[' {
			return [][]byte{raw} // token ids of one input
		}
		list = append(list, v)
	}
}
