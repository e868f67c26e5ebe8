package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"tollgate/proxy/jsonscan"
)

// FuzzParse holds Parse against the standard library: accepted is exactly what
// is a valid object, in UTF-8, without duplicates and not too deep.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":[1,2,{"b":null}],"c":"\u00e9\ud83d"}`, ` {"a" : -0.5e-7 }`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[`, `{"a":tru`, "{\"\xff\":1}", `{"a":1}x`, `{"a":"\"\\"}`,
		`{"k0":0,"k1":0,"k2":0,"k3":0,"k4":0,"k5":0,"k6":0,"k7":0,"k8":0,"k9":0,"ka":0,"kb":0,"kc":0,"kd":0,"k3":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		var o jsonscan.Object
		err := o.Parse(src)
		if !bytes.Equal(before, src) {
			t.Fatal("the source was written to")
		}
		want := json.Valid(src) && utf8.Valid(src) && bytes.HasPrefix(bytes.TrimLeft(src, " \t\r\n"), []byte("{"))
		if err == nil {
			if !want {
				t.Fatalf("accepted %q", src)
			}
			if dup := hasDuplicate(src); dup {
				t.Fatalf("accepted duplicates in %q", src)
			}
			if out := o.Rewrite(nil, nil, nil); !bytes.Equal(out, src) {
				t.Fatalf("rewrite without edits: %q became %q", src, out)
			}
			checkFields(t, &o, src)
			checkEdit(t, &o)
		} else if want {
			var e *jsonscan.Error
			if !errors.As(err, &e) || e.Kind != jsonscan.TooDeep && (e.Kind != jsonscan.DuplicateKey || !hasDuplicate(src)) {
				t.Fatalf("refused %q: %v", src, err)
			}
		}
		if top := o.ParseTop(src); (top == nil) != json.Valid(src) && utf8.Valid(src) && want {
			var e *jsonscan.Error
			if !errors.As(top, &e) || e.Kind != jsonscan.TooDeep {
				t.Fatalf("ParseTop of %q: %v", src, top)
			}
		}
	})
}

func checkFields(t *testing.T, o *jsonscan.Object, src []byte) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(src, &m); err != nil {
		t.Fatal(err)
	}
	if len(m) != len(o.Fields()) {
		t.Fatalf("%d fields, want %d", len(o.Fields()), len(m))
	}
	for k, v := range m {
		got, ok := o.Get(k)
		if !ok || !bytes.Equal(got, v) {
			t.Fatalf("field %q is %q, want %q", k, got, v)
		}
		s, isStr := jsonscan.String(got)
		var want string
		if isStr != (v[0] == '"') {
			t.Fatalf("String of %q", v)
		}
		if isStr && (json.Unmarshal(v, &want) != nil || want != s || jsonscan.TextLen(v) != len(want)) {
			t.Fatalf("string %q is %q, want %q", v, s, want)
		}
		if jsonscan.Skip(v, 0) != len(v) {
			t.Fatalf("skip of %q stops at %d", v, jsonscan.Skip(v, 0))
		}
	}
}

func checkEdit(t *testing.T, o *jsonscan.Object) {
	for _, f := range o.Fields() {
		edits := []jsonscan.Edit{{Key: string(f.Key)}, {Key: "new\x00", Value: []byte("7")}}
		if string(f.Key) == "new\x00" {
			continue
		}
		out := o.Rewrite(nil, edits, nil)
		var p jsonscan.Object
		if err := p.Parse(out); err != nil {
			t.Fatalf("rewritten %q: %v", out, err)
		}
		if p.Has(string(f.Key)) || !p.Has("new\x00") {
			t.Fatalf("rewritten %q", out)
		}
	}
}

// hasDuplicate reports whether any object of a valid document repeats a key.
func hasDuplicate(src []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(src))
	type frame struct {
		keys   map[string]bool
		isKey  bool
		object bool
	}
	var stack []*frame
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		var top *frame
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		if d, ok := tok.(json.Delim); ok {
			switch d {
			case '{', '[':
				if top != nil && top.object {
					top.isKey = true
				}
				stack = append(stack, &frame{keys: map[string]bool{}, isKey: true, object: d == '{'})
			default:
				stack = stack[:len(stack)-1]
			}
			continue
		}
		if top == nil || !top.object {
			continue
		}
		if top.isKey {
			k := tok.(string)
			if top.keys[k] {
				return true
			}
			top.keys[k] = true
		}
		top.isKey = !top.isKey
	}
}

// FuzzWalk feeds the trusting walker with anything: it may be wrong there but
// must neither panic nor run forever.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(`{"a":[1,2],"b":"x\\"}`))
	f.Add([]byte(`{"a":`))
	f.Add([]byte(`["\`))
	f.Fuzz(func(t *testing.T, src []byte) {
		it := jsonscan.Walk(src)
		for range len(src) + 1 {
			if _, _, ok := it.Member(); !ok {
				break
			}
		}
		it = jsonscan.Walk(src)
		n := 0
		for {
			if _, ok := it.Element(); !ok {
				break
			}
			if n++; n > len(src) {
				t.Fatalf("%d elements in %q", n, src)
			}
		}
		c := jsonscan.CursorAt(src)
		c.Enter('{')
		for n = 0; ; n++ {
			if _, ok := c.Key(); !ok && !c.More() {
				break
			}
			if !c.Enter('[') && n > 2*len(src) {
				t.Fatalf("no end of %q", src)
			}
		}
		jsonscan.TextLen(src)
		jsonscan.String(src)
		jsonscan.Int(src)
	})
}
