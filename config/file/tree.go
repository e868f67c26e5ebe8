package file

import (
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"bytes"

	"go.yaml.in/yaml/v4"
)

// kind is what a value is after YAML's own rules have been applied.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindText
	kindList
	kindMap
)

var kindNames = [...]string{"nothing", "true or false", "a number", "a number", "text", "a list", "a map"}

// value is one node with its place. Scalars keep their text in JSON form;
// references to the environment replace kind and text.
type value struct {
	kind      kind
	text      string
	file      string
	line, col int
	fromEnv   string // the variable that the value came from, or would have
	items     []*value
	fields    []field
	faults    []Finding // found while building; reported by whoever reads the value
}

type field struct {
	name string
	key  *value // for its place
	v    *value
}

func (v *value) get(name string) *value {
	for i := range v.fields {
		if v.fields[i].name == name {
			return v.fields[i].v
		}
	}
	return nil
}

func (v *value) set(f field) {
	for i := range v.fields {
		if v.fields[i].name == f.name {
			v.fields[i] = f
			return
		}
	}
	v.fields = append(v.fields, f)
}

// take removes a field and returns its value.
func (v *value) take(name string) *value {
	for i, f := range v.fields {
		if f.name == name {
			v.fields = append(v.fields[:i:i], v.fields[i+1:]...)
			return f.v
		}
	}
	return nil
}

// Bounds of one configuration: they stop files that were made to hurt, such as
// anchors that multiply.
const (
	maxFileBytes = 16 << 20
	maxValues    = 200_000
	maxDepth     = 100
)

// parseYAML makes the tree of one file. nil without an error is an empty file.
func parseYAML(name string, data []byte) (*value, error) {
	if len(data) > maxFileBytes {
		return nil, Findings{{File: name, Level: Fault, Problem: "the file is larger than 16 MiB", Hint: "split it with include, or check that it is the right file"}}
	}
	dec, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, Findings{{File: name, Level: Fault, Problem: err.Error()}}
	}
	var doc yaml.Node
	if err := dec.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, Findings{syntaxFault(name, err)}
	}
	b := builder{file: name}
	var root *value
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		root = b.build(doc.Content[0], 0)
	}
	if b.deep != nil {
		return nil, Findings{{File: name, Line: b.deep.line, Col: b.deep.col, Level: Fault, Problem: "values are nested deeper than " + strconv.Itoa(maxDepth) + " levels", Hint: "an alias may point at its own parent"}}
	}
	if b.stop {
		return nil, Findings{{File: name, Level: Fault, Problem: "anchors expand to more than " + strconv.Itoa(maxValues) + " values", Hint: "use fewer aliases"}}
	}
	var more yaml.Node
	switch err := dec.Load(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, Findings{syntaxFault(name, err)}
	default:
		return nil, Findings{{File: name, Line: more.Line, Col: more.Column, Level: Fault, Problem: "a second YAML document begins here", Hint: "keep one document in the file: remove the --- line"}}
	}
	return root, nil
}

func syntaxFault(name string, err error) Finding {
	f := Finding{File: name, Level: Fault, Problem: "not valid YAML: " + err.Error(), Hint: "check indentation, quotes and brackets near this line"}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		f.Line, f.Col, f.Problem = le.Mark.Line, max(le.Mark.Column, 1), "not valid YAML: "+le.Message
	}
	return f
}

type builder struct {
	file  string
	count int
	stop  bool   // a bound was passed: what is built is of no use
	deep  *value // where the bound of depth was passed
}

func (b *builder) build(n *yaml.Node, depth int) *value {
	v := &value{file: b.file, line: n.Line, col: n.Column}
	if b.count++; b.count > maxValues {
		b.stop = true
	}
	if b.stop {
		return v
	}
	if depth > maxDepth {
		b.deep, b.stop = v, true
		return v
	}
	switch n.Kind {
	case yaml.AliasNode:
		if n.Alias == nil {
			return v
		}
		return b.build(n.Alias, depth+1)
	case yaml.SequenceNode:
		v.kind = kindList
		for _, c := range n.Content {
			v.items = append(v.items, b.build(c, depth+1))
			if b.stop {
				return v
			}
		}
	case yaml.MappingNode:
		v.kind = kindMap
		b.mapping(v, n, depth)
	case yaml.ScalarNode:
		b.scalar(v, n)
	}
	return v
}

// mapping reads fields in order. Merged maps come first, as PyYAML has them,
// because LiteLLM's deployment ids depend on the order.
func (b *builder) mapping(v *value, n *yaml.Node, depth int) {
	var merged, own []field
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && !b.stop; i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		key := &value{file: b.file, line: k.Line, col: k.Column}
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			b.complain(v, key, "a key must be text", "")
			continue
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, b.merge(v, key, c, depth)...)
			continue
		}
		if first, dup := seen[k.Value]; dup {
			b.complain(v, key, "key "+quote(k.Value)+" is given twice, first in line "+strconv.Itoa(first), "remove one of the two")
			continue
		}
		seen[k.Value] = key.line
		own = append(own, field{name: k.Value, key: key, v: b.build(c, depth+1)})
	}
	for _, f := range merged {
		if _, given := seen[f.name]; !given {
			seen[f.name] = f.key.line
			v.fields = append(v.fields, f)
		}
	}
	v.fields = append(v.fields, own...)
}

func (b *builder) merge(v, key *value, c *yaml.Node, depth int) []field {
	m := b.build(c, depth+1)
	list := []*value{m}
	if m.kind == kindList {
		list = m.items
	}
	var out []field
	for _, x := range list {
		if x.kind != kindMap {
			b.complain(v, key, "<< must be given a map", "write <<: *anchor")
			return nil
		}
		v.faults = append(v.faults, x.faults...)
		out = append(out, x.fields...)
	}
	return out
}

func (b *builder) complain(v, place *value, problem, hint string) {
	v.faults = append(v.faults, Finding{File: place.file, Line: place.line, Col: place.col, Level: Fault, Problem: problem, Hint: hint})
}

func (b *builder) scalar(v *value, n *yaml.Node) {
	v.text = n.Value
	switch n.ShortTag() {
	case "!!null":
		v.kind, v.text = kindNull, ""
	case "!!bool":
		v.kind, v.text = kindBool, strings.ToLower(n.Value)
		switch v.text {
		case "yes", "on", "y":
			v.text = "true"
		case "no", "off", "n":
			v.text = "false"
		}
	case "!!int":
		b.integer(v, n.Value)
	case "!!float":
		b.float(v, n.Value)
	default:
		v.kind = kindText
		// LiteLLM's YAML reader takes the bare words of YAML 1.1 for booleans.
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 {
			switch strings.ToLower(n.Value) {
			case "yes", "on":
				v.kind, v.text = kindBool, "true"
			case "no", "off":
				v.kind, v.text = kindBool, "false"
			}
		}
	}
}

func (b *builder) integer(v *value, s string) {
	v.kind = kindInt
	i, ok := new(big.Int).SetString(strings.TrimPrefix(s, "+"), 0)
	if !ok || i.BitLen() > 128 {
		v.kind = kindText
		return
	}
	v.text = i.String()
}

func (b *builder) float(v *value, s string) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		v.kind = kindNull
		b.complain(v, v, "number "+quote(s)+" is not finite", "remove the line if you mean no limit")
		return
	}
	v.kind = kindFloat
	v.text = strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "+")
	if !isJSONNumber(v.text) {
		v.text = strconv.FormatFloat(f, 'g', -1, 64)
	}
}

// isJSONNumber keeps the digits of the file where JSON allows their form:
// prices must not pass through binary floats.
func isJSONNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	mant, exp, hasExp := strings.Cut(strings.ToLower(s), "e")
	if hasExp {
		exp = strings.TrimLeft(exp, "+-")
		if exp == "" || strings.Trim(exp, "0123456789") != "" {
			return false
		}
	}
	whole, frac, hasFrac := strings.Cut(mant, ".")
	if whole == "" || strings.Trim(whole, "0123456789") != "" || (len(whole) > 1 && whole[0] == '0') {
		return false
	}
	return !hasFrac || (frac != "" && strings.Trim(frac, "0123456789") == "")
}
