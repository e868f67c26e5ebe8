package file

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// section reads one map of the file, field by field, and remembers which
// fields it has read: the rest is kept raw and checked against the known names.
type section struct {
	s     *sink
	path  string
	v     *value
	level Level // of a fault in it
	used  map[string]bool
}

func newSection(s *sink, v *value, path string, level Level) *section {
	return &section{s: s, path: path, v: v, level: level, used: map[string]bool{}}
}

// field gives a value that is present and not null, and marks it read.
func (c *section) field(name string) *value {
	c.used[name] = true
	v := c.v.get(name)
	if v == nil || v.kind == kindNull {
		return nil
	}
	return v
}

func (c *section) bad(v *value, name, problem, hint string) {
	c.s.add(c.level, v, join(c.path, name), problem, hint)
}

func (c *section) want(v *value, name, what string) {
	c.bad(v, name, "want "+what+", found "+v.show(name), "")
}

// show is the value for a finding. What may be a secret is not shown: findings
// go to logs.
func (v *value) show(name string) string {
	switch {
	case v.kind >= kindList:
		return kindNames[v.kind]
	case v.fromEnv != "":
		return "the value of " + v.fromEnv
	case IsSecretParam(name):
		return "something else"
	}
	return quote(v.text)
}

func (c *section) Text(name string, into *string) {
	if v := c.field(name); v != nil {
		c.text(v, name, into)
	}
}

func (c *section) text(v *value, name string, into *string) {
	if v.kind >= kindList {
		c.want(v, name, "text")
		return
	}
	*into = v.text
}

// Choice is text that must be one of the words.
func (c *section) Choice(name string, into *string, words ...string) {
	v := c.field(name)
	if v == nil {
		return
	}
	for _, w := range words {
		if v.kind < kindList && v.text == w { // a choice may look like a number
			*into = w
			return
		}
	}
	hint := "use one of " + strings.Join(words, ", ")
	if near := nearest(v.text, words); near != "" {
		hint = "did you mean " + near + "? Known: " + strings.Join(words, ", ")
	}
	c.bad(v, name, "unknown value "+v.show(name), hint)
}

func (c *section) Bool(name string, into *bool) {
	v := c.field(name)
	if v == nil {
		return
	}
	switch strings.ToLower(v.text) {
	case "true", "1":
		if v.kind < kindList {
			*into = true
			return
		}
	case "false", "0":
		if v.kind < kindList {
			*into = false
			return
		}
	}
	c.want(v, name, "true or false")
}

func (c *section) Int(name string, into **int) {
	if v := c.field(name); v != nil {
		c.int(v, name, into)
	}
}

func (c *section) int(v *value, name string, into **int) {
	n, ok := v.integer()
	if !ok || n < 0 || n > math.MaxInt32 {
		c.want(v, name, "a whole number from 0")
		return
	}
	i := int(n)
	*into = &i
}

func (c *section) Int64(name string, into **int64) {
	v := c.field(name)
	if v == nil {
		return
	}
	n, ok := v.integer()
	if !ok || n < 0 {
		c.want(v, name, "a whole number from 0")
		return
	}
	*into = &n
}

// Bytes is a size that must fit in memory.
func (c *section) Bytes(name string, into *int64) {
	var n *int64
	c.Int64(name, &n)
	if n != nil {
		*into = *n
	}
}

func (c *section) Float(name string, into *float64) {
	if v := c.field(name); v != nil {
		c.float(v, name, into)
	}
}

// maxNumber bounds numbers that may become durations: longer ones overflow.
const maxNumber = math.MaxInt64 / 1e9

func (c *section) float(v *value, name string, into *float64) {
	f, ok := v.number()
	if !ok || f < 0 || f > maxNumber {
		c.want(v, name, "a number from 0")
		return
	}
	*into = f
}

func (c *section) FloatPtr(name string, into **float64) {
	v := c.field(name)
	if v == nil {
		return
	}
	before := len(c.s.found)
	var f float64
	c.float(v, name, &f)
	if len(c.s.found) == before {
		*into = &f
	}
}

// Money reads dollars by their text, never through a float.
func (c *section) Money(name string, into **unit.Money) {
	v := c.field(name)
	if v == nil {
		return
	}
	m, err := unit.ParseMoney(v.text)
	if v.kind == kindBool || v.kind >= kindList || err != nil || m < 0 {
		c.want(v, name, "an amount of dollars from 0")
		return
	}
	*into = &m
}

// Duration is text in LiteLLM's form; it stays text.
func (c *section) Duration(name string, into *string) {
	v := c.field(name)
	if v == nil {
		return
	}
	if v.kind >= kindList {
		c.want(v, name, "a duration such as 30d")
		return
	}
	if _, err := unit.ParseWindow(v.text); err != nil {
		c.want(v, name, "a duration such as 24h, 7d or 1mo")
		return
	}
	*into = v.text
}

// Texts is a list of strings; one string alone is a list of one.
func (c *section) Texts(name string, into *[]string) {
	if v := c.field(name); v != nil {
		*into = append(*into, c.texts(v, name)...)
	}
}

func (c *section) texts(v *value, name string) []string {
	if v.kind == kindText {
		return []string{v.text}
	}
	if v.kind != kindList {
		c.want(v, name, "a list of names")
		return nil
	}
	out := make([]string, 0, len(v.items))
	for i, item := range v.items {
		switch {
		case item.kind == kindNull && item.fromEnv != "": // the lookup has warned
		case item.kind == kindText:
			out = append(out, item.text)
		default:
			c.want(item, at(name, i), "text")
		}
	}
	return out
}

// Ints is a map of names to whole numbers, such as a retry policy.
func (c *section) Ints(name string, into *map[string]int) {
	if v := c.field(name); v != nil {
		*into = c.ints(v, name)
	}
}

func (c *section) ints(v *value, name string) map[string]int {
	if v.kind != kindMap {
		c.want(v, name, "a map of names and numbers")
		return nil
	}
	out := make(map[string]int, len(v.fields))
	for _, f := range v.fields {
		if f.v.kind == kindNull {
			continue
		}
		var n *int
		c.int(f.v, join(name, f.name), &n)
		if n != nil {
			out[f.name] = *n
		}
	}
	return out
}

// JSON keeps a map or list as it is.
func (c *section) JSON(name string, into *json.RawMessage) {
	if v := c.field(name); v != nil {
		*into = v.json()
	}
}

// Params keeps a map as raw fields.
func (c *section) Params(name string, into *model.Params) {
	v := c.field(name)
	if v == nil {
		return
	}
	if v.kind != kindMap {
		c.want(v, name, "a map")
		return
	}
	*into = v.params()
}

// Rest gives the fields that nobody has read, and warns of unknown ones.
func (c *section) Rest(known []string) model.Params {
	var out model.Params
	for _, f := range c.v.fields {
		if c.used[f.name] {
			continue
		}
		if !contains(known, f.name) {
			c.unknown(f, known)
		}
		if f.v.kind == kindNull {
			continue
		}
		if out == nil {
			out = model.Params{}
		}
		out[f.name] = f.v.json()
	}
	return out
}

func (c *section) unknown(f field, known []string) {
	c.s.warn(f.key, join(c.path, f.name), "unknown key", suggestion(f.name, c.path, known))
}

// integer reads a whole number, also from text and from 600.0.
func (v *value) integer() (int64, bool) {
	if v.kind != kindInt && v.kind != kindFloat && v.kind != kindText {
		return 0, false
	}
	s := strings.TrimSpace(v.text)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func (v *value) number() (float64, bool) {
	if v.kind != kindInt && v.kind != kindFloat && v.kind != kindText {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(v.text), 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

// json is the value in JSON, with the digits of the file.
func (v *value) json() json.RawMessage { return v.appendJSON(nil) }

func (v *value) appendJSON(b []byte) []byte {
	switch v.kind {
	case kindNull:
		return append(b, "null"...)
	case kindBool, kindInt, kindFloat:
		return append(b, v.text...)
	case kindText:
		return appendText(b, v.text)
	case kindList:
		b = append(b, '[')
		for i, item := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, f := range v.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, f.name), ':')
		b = f.v.appendJSON(b)
	}
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	t, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		return append(b, `""`...)
	}
	return append(b, t...)
}

func (v *value) params() model.Params {
	out := make(model.Params, len(v.fields))
	for _, f := range v.fields {
		if f.v.kind != kindNull {
			out[f.name] = f.v.json()
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
