package admin

import (
	stdjson "encoding/json"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// shape is the JSON type of a field that is only kept and shown again.
type shape byte

const (
	anyShape    shape = 0
	stringShape shape = '"'
	boolShape   shape = 't'
	listShape   shape = '['
	objectShape shape = '{'
	numberShape shape = '0'
)

// extras are fields that are accepted, kept and shown, and have no effect here.
type extras map[string]shape

// read checks the types of the extra fields that a request has.
func (x extras) read(f *form) map[string]field[jsontext.Value] {
	out := map[string]field[jsontext.Value]{}
	for name, want := range x {
		v, given, null := f.value(name)
		switch {
		case !given:
		case null:
			out[name] = field[jsontext.Value]{given: true}
		case want.fits(v):
			out[name] = field[jsontext.Value]{true, true, compact(v)}
		default:
			f.fault(name, want.fault(), want.says())
		}
	}
	return out
}

func (w shape) fits(v jsontext.Value) bool {
	k := v.Kind()
	return w == anyShape || byte(k) == byte(w) || w == boolShape && k == 'f'
}

func (w shape) fault() string {
	return map[shape]string{stringShape: "string_type", boolShape: "bool_type", listShape: "list_type", objectShape: "dict_type", numberShape: "float_type"}[w]
}

func (w shape) says() string {
	return "Input should be a valid " + map[shape]string{stringShape: "string", boolShape: "boolean", listShape: "list", objectShape: "dictionary", numberShape: "number"}[w]
}

// keep lays given extra fields over what an entity has kept.
func keep(have map[string]stdjson.RawMessage, given map[string]field[jsontext.Value]) map[string]stdjson.RawMessage {
	if len(given) == 0 {
		return have
	}
	out := make(map[string]stdjson.RawMessage, len(have)+len(given))
	for k, v := range have { // a copy: the snapshot's map is never written
		out[k] = v
	}
	for k, f := range given {
		if f.set {
			out[k] = stdjson.RawMessage(f.v)
		} else {
			delete(out, k)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// raw shows a kept value, or the given default.
func raw(v []byte, otherwise string) jsontext.Value {
	if len(v) == 0 {
		return jsontext.Value(otherwise)
	}
	return jsontext.Value(v)
}

// stringList reads a kept list of strings; anything else is an empty list.
func stringList(v []byte) []string {
	var out []string
	if len(v) == 0 || json.Unmarshal(v, &out) != nil {
		return nil
	}
	return out
}

// withFields lays fields over a JSON object: LiteLLM shows several fields
// inside metadata.
func withFields(object []byte, fields map[string]any) jsontext.Value {
	if len(fields) == 0 {
		return raw(object, "{}")
	}
	m := map[string]jsontext.Value{}
	if len(object) > 0 && json.Unmarshal(object, &m) != nil {
		return jsontext.Value(object)
	}
	for name, v := range fields {
		b, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			continue
		}
		m[name] = b
	}
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return raw(object, "{}")
	}
	return b
}

// withoutFields takes fields out of a JSON object.
func withoutFields(object []byte, names ...string) []byte {
	m := map[string]jsontext.Value{}
	if len(object) == 0 || json.Unmarshal(object, &m) != nil {
		return object
	}
	had := len(m)
	for _, n := range names {
		delete(m, n)
	}
	if len(m) == had {
		return object
	}
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return object
	}
	return b
}
