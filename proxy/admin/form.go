package admin

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/proxy/refusal"
)

// field is one field of a request: absent, null or a value. Updates need all
// three: absent keeps, null clears.
type field[T any] struct {
	given bool // the name was there
	set   bool // with a value, not null
	v     T
}

// or is the value, or another one when there is none.
func (f field[T]) or(other T) T {
	if f.set {
		return f.v
	}
	return other
}

// into stores a given field; null stores the zero value.
func (f field[T]) into(dst *T) {
	if f.given {
		*dst = f.v
	}
}

// intoPtr stores a given field; null stores nil.
func (f field[T]) intoPtr(dst **T) {
	switch {
	case f.set:
		v := f.v
		*dst = &v
	case f.given:
		*dst = nil
	}
}

// form is a request body, read field by field. Every wrong field is noted, so
// that the caller learns of all of them at once.
type form struct {
	where  string // "body" or "query", first part of a fault's place
	raw    map[string]jsontext.Value
	faults []fault
}

// fault is one wrong field, in the shape that LiteLLM's framework gives it.
type fault struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

func (f *form) fault(name, typ, msg string) {
	f.faults = append(f.faults, fault{append([]string{f.where}, strings.Split(name, ".")...), msg, typ})
}

// invalid notes a value that has the right type and makes no sense.
func (f *form) invalid(name, msg string) { f.fault(name, "value_error", "Value error, "+msg) }

func (f *form) wrong() bool { return len(f.faults) > 0 }

// errNoObject says that a body is JSON, but not an object.
var errNoObject = errors.New("the body must be a JSON object")

// parseForm reads a body. Nothing at all counts as an empty object.
func parseForm(body []byte) (*form, error) {
	f := &form{where: "body", raw: map[string]jsontext.Value{}}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return f, nil
	}
	if !jsontext.Value(body).IsValid() {
		// Unmarshal says where and why; it also refuses duplicate names.
		var v jsontext.Value
		return nil, json.Unmarshal(body, &v)
	}
	if body[0] != '{' {
		return nil, errNoObject
	}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, err
	}
	return f, nil
}

// form reads the call's body.
func (c *call) form() (*form, *refusal.Refusal) {
	f, err := parseForm(c.ctx.PostBody())
	if err != nil {
		return nil, refusal.New(400, "invalid_request_error", "request_body", "Invalid JSON payload: "+err.Error())
	}
	return f, nil
}

// answered stands for a refusal that is written already.
var answered = &refusal.Refusal{Status: 422, Message: "wrong fields"}

// refuseForm answers 422 with all the wrong fields. The body is written here
// because a refusal's detail is text and this one is a list.
func (c *call) refuseForm(f *form) *refusal.Refusal {
	slices.SortStableFunc(f.faults, compareFaults)
	f.faults = slices.CompactFunc(f.faults, func(a, b fault) bool { return compareFaults(a, b) == 0 })
	if r := c.write(422, struct {
		Detail []fault `json:"detail"`
	}{f.faults}); r != nil {
		return r
	}
	return answered
}

func compareFaults(a, b fault) int {
	return cmp.Or(slices.Compare(a.Loc, b.Loc), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Msg, b.Msg))
}

// value gives a field's raw form; given is false when the field is not there,
// null true when it is null.
func (f *form) value(name string) (v jsontext.Value, given, null bool) {
	v, given = f.raw[name]
	return v, given, given && v.Kind() == 'n'
}

// read is the frame of all typed readers.
func read[T any](f *form, name string, parse func(v jsontext.Value) (T, bool)) field[T] {
	v, given, null := f.value(name)
	if !given || null {
		return field[T]{given: given}
	}
	x, ok := parse(v)
	if !ok {
		return field[T]{}
	}
	return field[T]{true, true, x}
}

func (f *form) str(name string) field[string] {
	return read(f, name, func(v jsontext.Value) (string, bool) {
		if v.Kind() != '"' {
			f.fault(name, "string_type", "Input should be a valid string")
			return "", false
		}
		return text(v), true
	})
}

// id is a string that names an object.
func (f *form) id(name string) field[string] {
	s := f.str(name)
	if s.set && s.v != "" {
		if why := badID(s.v); why != "" {
			f.invalid(name, why)
		}
	}
	return s
}

// badID says why a string cannot name an object. Control characters are
// refused because ids are joined with one of them into compound ids.
func badID(id string) string {
	if len(id) > 512 {
		return "an id may have 512 bytes at most"
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return "an id may not hold control characters"
	}
	return ""
}

// choice is a string out of a fixed set.
func (f *form) choice(name string, allowed ...string) field[string] {
	s := f.str(name)
	if s.set && !slices.Contains(allowed, s.v) {
		quoted := make([]string, len(allowed))
		for i, a := range allowed {
			quoted[i] = "'" + a + "'"
		}
		list := quoted[len(quoted)-1]
		if len(quoted) > 1 {
			list = strings.Join(quoted[:len(quoted)-1], ", ") + " or " + list
		}
		f.fault(name, "literal_error", "Input should be "+list)
		return field[string]{}
	}
	return s
}

// strs is a list of strings.
func (f *form) strs(name string) field[[]string] {
	return read(f, name, func(v jsontext.Value) ([]string, bool) {
		items, ok := f.items(name, v)
		out, fine := make([]string, 0, len(items)), ok
		for i, it := range items {
			if it.Kind() != '"' {
				f.fault(name+"."+strconv.Itoa(i), "string_type", "Input should be a valid string")
				fine = false
				continue
			}
			out = append(out, text(it))
		}
		return out, fine
	})
}

func (f *form) items(name string, v jsontext.Value) ([]jsontext.Value, bool) {
	var items []jsontext.Value
	if v.Kind() != '[' || json.Unmarshal(v, &items) != nil {
		f.fault(name, "list_type", "Input should be a valid list")
		return nil, false
	}
	return items, true
}

// object is a JSON object kept as it came.
func (f *form) object(name string) field[jsontext.Value] {
	return read(f, name, func(v jsontext.Value) (jsontext.Value, bool) {
		if v.Kind() != '{' {
			f.fault(name, "dict_type", "Input should be a valid dictionary")
			return nil, false
		}
		return compact(v), true
	})
}

// entries is a JSON object whose values are read one by one.
func entries[T any](f *form, name string, parse func(name string, v jsontext.Value) (T, bool)) field[map[string]T] {
	return read(f, name, func(v jsontext.Value) (map[string]T, bool) {
		var raw map[string]jsontext.Value
		if v.Kind() != '{' || json.Unmarshal(v, &raw) != nil {
			f.fault(name, "dict_type", "Input should be a valid dictionary")
			return nil, false
		}
		out, fine := make(map[string]T, len(raw)), true
		for k, e := range raw {
			x, ok := parse(name+"."+k, e)
			out[k], fine = x, fine && ok
		}
		return out, fine
	})
}

func (f *form) strMap(name string) field[map[string]string] {
	return entries(f, name, func(at string, v jsontext.Value) (string, bool) {
		if v.Kind() != '"' {
			f.fault(at, "string_type", "Input should be a valid string")
			return "", false
		}
		return text(v), true
	})
}

func (f *form) limitMap(name string) field[map[string]int64] {
	return entries(f, name, func(at string, v jsontext.Value) (int64, bool) {
		n, ok := f.intValue(at, v)
		if ok && n < 0 {
			f.invalid(at, at+" cannot be negative")
		}
		return n, ok && n >= 0
	})
}

// require notes a field that must be there.
func (f *form) require(name string, there bool) {
	if !there && !slices.ContainsFunc(f.faults, func(x fault) bool { return len(x.Loc) > 1 && x.Loc[1] == name }) {
		f.fault(name, "missing", "Field required")
	}
}

// text is the content of a JSON string that is known to be one.
func text(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}

// compact copies a value without its white space: it goes into the replicated
// state, and the request's bytes do not outlive the request.
func compact(v jsontext.Value) jsontext.Value {
	c := v.Clone()
	if c.Compact() != nil {
		return v.Clone()
	}
	return c
}
