package cache

import (
	"bytes"
	"strconv"

	"tollgate/proxy/jsonscan"
)

// Inputs are the items of an embedding's raw input, each answered with one
// vector: one text, several, the tokens of one text, or those of several. list is
// false where the input is one item that does not stand in a list.
func Inputs(raw []byte) (items [][]byte, list bool) {
	raw = bytes.TrimSpace(raw)
	if !jsonscan.IsArray(raw) {
		return [][]byte{raw}, false
	}
	for it := jsonscan.Walk(raw); ; {
		v, ok := it.Element()
		if !ok {
			return items, true
		}
		if v[0] != '"' && v[0] != '[' && v[0] != '{' {
			return [][]byte{raw}, false // token ids of one input
		}
		items = append(items, v)
	}
}

// Vectors are the items of an embedding's answer in the order of its input, each
// an object without its index and with its share of the tokens, fit to be kept.
// It is false when they are not as many as the inputs.
func Vectors(doc []byte, inputs [][]byte) ([][]byte, bool) {
	var o jsonscan.Object
	if o.ParseTop(doc) != nil {
		return nil, false
	}
	data, _ := o.Get("data")
	out := make([][]byte, len(inputs))
	n := 0
	for it := jsonscan.Walk(data); ; n++ {
		v, ok := it.Element()
		if !ok {
			break
		}
		index, ok := jsonscan.Int(jsonscan.Find(v, "index"))
		if !ok {
			index = int64(n)
		}
		if index < 0 || index >= int64(len(out)) || out[index] != nil || jsonscan.Find(v, "embedding") == nil {
			return nil, false
		}
		out[index] = v
	}
	if n != len(inputs) {
		return nil, false
	}
	usage, _ := o.Get("usage")
	tokens, _ := jsonscan.Int(jsonscan.Find(usage, "prompt_tokens"))
	size := 0
	for _, in := range inputs {
		size += len(in)
	}
	for i, v := range out {
		var item jsonscan.Object
		if item.ParseTop(v) != nil {
			return nil, false
		}
		share := tokens * int64(len(inputs[i])) / int64(max(size, 1))
		out[i] = item.Rewrite(nil, []jsonscan.Edit{{Key: "index"}, {Key: "tokens", Value: strconv.AppendInt(nil, share, 10)}}, nil)
	}
	return out, true
}

// Tokens is what a kept vector's input had.
func Tokens(vector []byte) int64 {
	n, _ := jsonscan.Int(jsonscan.Find(vector, "tokens"))
	return max(n, 0)
}

// Embeddings is the answer that kept vectors make, in the order of the input.
// usage is raw; without one it is the sum of what was kept.
func Embeddings(vectors [][]byte, model string, usage []byte) []byte {
	b := []byte(`{"object":"list","data":[`)
	var tokens int64
	for i, v := range vectors {
		tokens += Tokens(v)
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding"`...)
		for it := jsonscan.Walk(v); ; {
			k, value, ok := it.Member()
			if !ok {
				break
			}
			switch string(jsonscan.Name(k)) {
			case "object", "index", "tokens":
			default:
				b = append(append(append(append(b, ','), k...), ':'), value...)
			}
		}
		b = append(jsonscan.AppendInt(b, "index", int64(i)), '}')
	}
	b = jsonscan.AppendText(append(b, ']'), "model", model)
	if usage == nil {
		n := strconv.FormatInt(tokens, 10)
		usage = []byte(`{"prompt_tokens":` + n + `,"total_tokens":` + n + `}`)
	}
	return append(jsonscan.AppendRaw(b, "usage", usage), '}')
}
