package mock

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math"
	"strconv"

	"tollgate/proxy/jsonscan"
)

func vector(text string, input []byte, dims int) []float32 {
	if v, ok := stated(text); ok {
		return v
	}
	h := fnv.New64a()
	_, _ = h.Write(input)
	seed := h.Sum64()
	v := make([]float32, dims)
	norm := 0.0
	for i := range v {
		seed += 0x9e3779b97f4a7c15 // splitmix64
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		f := float64(int64(z^z>>31)) / (1 << 63)
		v[i] = float32(f)
		norm += f * f
	}
	if norm = math.Sqrt(norm); norm > 0 {
		for i := range v {
			v[i] = float32(float64(v[i]) / norm)
		}
	}
	return v
}

// stated reads a text that is itself a list of numbers.
func stated(text string) ([]float32, bool) {
	var o jsonscan.Object
	if o.Parse([]byte(`{"v":`+text+`}`)) != nil {
		return nil, false
	}
	raw, _ := o.Get("v")
	if raw[0] != '[' {
		return nil, false
	}
	var v []float32
	for it := jsonscan.Walk(raw); ; {
		n, ok := it.Element()
		if !ok {
			return v, len(v) > 0
		}
		f, err := strconv.ParseFloat(string(n), 32)
		if err != nil {
			return nil, false
		}
		v = append(v, float32(f))
	}
}

func appendVector(dst []byte, v []float32, asBase64 bool) []byte {
	if asBase64 {
		raw := make([]byte, 0, 4*len(v))
		for _, f := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), raw)
		return append(dst, '"')
	}
	dst = append(dst, '[')
	for i, f := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(f), 'g', -1, 32)
	}
	return append(dst, ']')
}
