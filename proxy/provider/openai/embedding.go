package openai

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// wantsBase64 reports what form of vectors the client asked for. The official
// SDKs ask for base64 without their users' knowing and decode nothing else.
func wantsBase64(c *provider.Call) bool {
	v, _ := c.Fields.Get("encoding_format")
	return string(v) == `"base64"`
}

// encodeEmbeddings turns vectors into the form asked for: base64 of
// little-endian 32-bit floats, or a list of numbers. Vectors that are in that
// form already keep their bytes.
func encodeEmbeddings(data []byte, asBase64 bool) (out []byte, changed bool) {
	wrong := byte('"')
	if asBase64 {
		wrong = '['
	}
	for it := jsonscan.Walk(data); ; {
		item, ok := it.Element()
		if !ok {
			return nil, false
		}
		if v := jsonscan.Find(item, "embedding"); len(v) > 0 && v[0] == wrong {
			break
		}
	}
	var vector []byte
	out = mapObjects(data, func(out []byte, o *jsonscan.Object) []byte {
		v, _ := o.Get("embedding")
		if len(v) == 0 || v[0] != wrong {
			return append(out, o.Src()...)
		}
		if asBase64 {
			vector = packFloats(vector[:0], v)
		} else {
			var ok bool
			if vector, ok = unpackFloats(vector[:0], v); !ok {
				return append(out, o.Src()...)
			}
		}
		return o.Rewrite(out, []jsonscan.Edit{{Key: "embedding", Value: vector}}, nil)
	})
	return out, true
}

func packFloats(dst, list []byte) []byte {
	raw := make([]byte, 0, len(list)/2)
	for it := jsonscan.Walk(list); ; {
		n, ok := it.Element()
		if !ok {
			break
		}
		f, err := strconv.ParseFloat(string(n), 32)
		if err != nil && !math.IsInf(f, 0) {
			f = 0 // null and the like: a vector keeps its length
		}
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(f)))
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

func unpackFloats(dst, quoted []byte) ([]byte, bool) {
	text, ok := jsonscan.AppendString(nil, quoted)
	if !ok {
		return dst, false
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(raw)%4 != 0 {
		return dst, false
	}
	dst = append(dst, '[')
	for i := 0; i < len(raw); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		f := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			f = 0 // JSON has no word for it
		}
		dst = strconv.AppendFloat(dst, f, 'g', -1, 32)
	}
	return append(dst, ']'), true
}
