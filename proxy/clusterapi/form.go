package clusterapi

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/proxy/refusal"
)

// form is a request body, read field by field. Every wrong field is noted, so
// that the caller learns of all of them at once.
type form struct {
	raw    map[string]jsontext.Value
	asked  []string
	faults []fault
}

// fault is one wrong field, in the shape of the management API.
type fault struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

// answered stands for a refusal that is written already.
var answered = &refusal.Refusal{Status: 422, Message: "wrong fields"}

var errNoObject = errors.New("the body must be a JSON object")

// parseForm reads a body. Nothing at all counts as an empty object.
func parseForm(body []byte) (*form, error) {
	f := &form{raw: map[string]jsontext.Value{}}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return f, nil
	}
	if body[0] != '{' && jsontext.Value(body).IsValid() {
		return nil, errNoObject
	}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, err
	}
	return f, nil
}

func (c *call) form() (*form, *refusal.Refusal) {
	f, err := parseForm(c.ctx.PostBody())
	if err != nil {
		return nil, refusal.New(400, "invalid_request_error", "request_body", "Invalid JSON payload: "+err.Error())
	}
	return f, nil
}

// check ends the reading of a form: fields that nobody asked for are refused by
// name, and any fault is answered with 422.
func (c *call) check(f *form) *refusal.Refusal {
	for _, name := range slices.Sorted(maps.Keys(f.raw)) {
		if !slices.Contains(f.asked, name) {
			msg := "Extra inputs are not permitted: this route takes no fields"
			if len(f.asked) > 0 {
				msg = "Extra inputs are not permitted: this route takes " + strings.Join(f.asked, ", ")
			}
			f.fault(name, "extra_forbidden", msg)
		}
	}
	if len(f.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(f.faults, func(a, b fault) int { return cmp.Compare(a.Loc[1], b.Loc[1]) })
	if r := c.write(422, struct {
		Detail []fault `json:"detail"`
	}{f.faults}); r != nil {
		return r
	}
	return answered
}

// noFields is for routes whose body says nothing.
func (c *call) noFields() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	return c.check(f)
}

func (f *form) fault(name, typ, msg string) {
	f.faults = append(f.faults, fault{append([]string{"body"}, strings.Split(name, "/")...), msg, typ})
}

func (f *form) invalid(name, msg string) { f.fault(name, "value_error", "Value error, "+msg) }

// value is a field's raw form; null counts as absent.
func (f *form) value(name string) (v jsontext.Value, given bool) {
	f.asked = append(f.asked, name)
	v, given = f.raw[name]
	return v, given && v.Kind() != 'n'
}

// text is a string field.
func (f *form) text(name string) (s string, given bool) {
	v, given := f.value(name)
	if !given {
		return "", false
	}
	if v.Kind() != '"' {
		f.fault(name, "string_type", "Input should be a valid string")
		return "", false
	}
	return unquote(v), true
}

// name is a string that names something: not empty, no control characters.
func (f *form) name(field string, required bool) string {
	s, given := f.text(field)
	_, there := f.raw[field]
	switch {
	case !given && !there && required:
		f.fault(field, "missing", "Field required")
	case given && s == "":
		f.invalid(field, field+" must not be empty")
	case len(s) > 256:
		f.invalid(field, field+" may have 256 bytes at most")
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		f.invalid(field, field+" may not hold control characters")
	}
	return s
}

// choice is a string out of a few.
func (f *form) choice(name string, allowed ...string) string {
	s, given := f.text(name)
	if !given {
		return allowed[0]
	}
	if !slices.Contains(allowed, s) {
		f.fault(name, "literal_error", "Input should be '"+strings.Join(allowed, "' or '")+"'")
	}
	return s
}

func (f *form) boolean(name string) (b, given bool) {
	v, given := f.value(name)
	if !given {
		return false, false
	}
	if k := v.Kind(); k != 't' && k != 'f' {
		f.fault(name, "bool_type", "Input should be a valid boolean")
		return false, false
	}
	return v.Kind() == 't', true
}

// whole is a whole number between low and high.
func (f *form) whole(name string, low, high, otherwise uint64) uint64 {
	v, given := f.value(name)
	if !given {
		return otherwise
	}
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil || v.Kind() != '0' || n < low || n > high {
		f.fault(name, "int_type", "Input should be a whole number from "+strconv.FormatUint(low, 10)+" to "+strconv.FormatUint(high, 10))
		return otherwise
	}
	return n
}

// duration is a time such as "90s" or "1h30m".
func (f *form) duration(name string, low, high, otherwise time.Duration) time.Duration {
	s, given := f.text(name)
	if !given {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		f.invalid(name, name+" must be a duration from "+low.String()+" to "+high.String()+", such as 30m or 1h")
		return otherwise
	}
	return d
}

// textMap is an object of strings.
func (f *form) textMap(name string) map[string]string {
	v, given := f.value(name)
	if !given {
		return nil
	}
	var raw map[string]jsontext.Value
	if v.Kind() != '{' || json.Unmarshal(v, &raw) != nil {
		f.fault(name, "dict_type", "Input should be a valid dictionary")
		return nil
	}
	out := make(map[string]string, len(raw))
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		if raw[k].Kind() != '"' {
			f.fault(name+"/"+k, "string_type", "Input should be a valid string")
			continue
		}
		out[k] = unquote(raw[k])
	}
	return out
}

// unquote is the content of a JSON string that is known to be one.
func unquote(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}
