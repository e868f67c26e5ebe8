package jsonscan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/jsonscan"
)

func TestRefusalsNameKindAndOffset(t *testing.T) {
	for _, c := range []struct {
		in   string
		kind jsonscan.Kind
		at   int
		text string
	}{
		{``, jsonscan.UnexpectedEnd, 0, "unexpected end of input at byte 0"},
		{`  `, jsonscan.UnexpectedEnd, 2, ""},
		{`[1]`, jsonscan.NotObject, 0, "expected an object at byte 0"},
		{`"x"`, jsonscan.NotObject, 0, ""},
		{`{`, jsonscan.UnexpectedEnd, 1, ""},
		{`{"a"`, jsonscan.UnexpectedEnd, 4, ""},
		{`{"a":`, jsonscan.UnexpectedEnd, 5, ""},
		{`{"a":1`, jsonscan.UnexpectedEnd, 6, ""},
		{`{"a":"x`, jsonscan.UnexpectedEnd, 7, ""},
		{`{"a":1,}`, jsonscan.Syntax, 7, "unexpected character at byte 7"},
		{`{a:1}`, jsonscan.Syntax, 1, ""},
		{`{"a":01}`, jsonscan.Syntax, 6, ""},
		{`{"a":-}`, jsonscan.Syntax, 6, ""},
		{`{"a":1.}`, jsonscan.Syntax, 7, ""},
		{`{"a":1e}`, jsonscan.Syntax, 7, ""},
		{`{"a":tru}`, jsonscan.Syntax, 8, ""},
		{`{"a":nul`, jsonscan.UnexpectedEnd, 8, ""},
		{`{"a":"\x"}`, jsonscan.Syntax, 7, ""},
		{`{"a":"\u12g4"}`, jsonscan.Syntax, 10, ""},
		{"{\"a\":\"\n\"}", jsonscan.Syntax, 6, ""},
		{`{"a":1}}`, jsonscan.TrailingData, 7, "unexpected data after the object at byte 7"},
		{`{"a":1} {}`, jsonscan.TrailingData, 8, ""},
		{"{\"a\":\"\xff\"}", jsonscan.InvalidUTF8, 6, "invalid UTF-8 at byte 6"},
		{"{\"a\":\"\xed\xa0\x80\"}", jsonscan.InvalidUTF8, 6, ""},
		{`{"model":"a","model":"b"}`, jsonscan.DuplicateKey, 13, `duplicate key "model" at byte 13`},
		{`{"model":"a","m\u006fdel":"b"}`, jsonscan.DuplicateKey, 13, `duplicate key "model" at byte 13`},
		{`{"a":[{"b":{"c":1,"c":2}}]}`, jsonscan.DuplicateKey, 18, ""},
		{"\ufeff{}", jsonscan.NotObject, 0, ""},
	} {
		var o jsonscan.Object
		err := o.Parse([]byte(c.in))
		var e *jsonscan.Error
		require.ErrorAs(t, err, &e, c.in)
		require.Equal(t, c.kind, e.Kind, "%q: %v", c.in, e)
		require.Equal(t, c.at, e.Offset, "%q: %v", c.in, e)
		if c.text != "" {
			require.Equal(t, c.text, e.Error())
		}
		require.Empty(t, o.Fields(), "a refused document has no fields")
	}
}

func TestNestingIsCountedFromTheOutermostObject(t *testing.T) {
	deep := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`)
	}
	var o jsonscan.Object
	require.NoError(t, o.Parse(deep(jsonscan.MaxDepth)))
	var e *jsonscan.Error
	require.ErrorAs(t, o.Parse(deep(jsonscan.MaxDepth+1)), &e)
	require.Equal(t, jsonscan.TooDeep, e.Kind)
}

func TestDuplicateAmongManyKeysIsFound(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		b.WriteString(`"key`)
		b.WriteString(strings.Repeat("x", i))
		b.WriteString(`":0,`)
	}
	var o jsonscan.Object
	require.NoError(t, o.Parse([]byte("{"+b.String()+`"last":1}`)))
	require.Len(t, o.Fields(), 3001)
	var e *jsonscan.Error
	require.ErrorAs(t, o.Parse([]byte(`{"m":{`+b.String()+`"keyxxx":1}}`)), &e)
	require.Equal(t, jsonscan.DuplicateKey, e.Kind)
	require.Equal(t, "keyxxx", e.Key)
	require.Equal(t, len(`{"m":{`+b.String()), e.Offset)
}

func TestTheSameKeyInDifferentObjectsIsNoDuplicate(t *testing.T) {
	var o jsonscan.Object
	require.NoError(t, o.Parse([]byte(`{"a":{"a":{"a":1},"b":2},"b":[{"a":1},{"a":2}]}`)))
}

func TestFieldsKeepRawValuesAndUnescapedKeys(t *testing.T) {
	var o jsonscan.Object
	src := ` { "a" : 1.50e+3 , "b\u00e9\ud83d\ude00\n":[1, 2], "":null } `
	require.NoError(t, o.Parse([]byte(src)))
	require.Len(t, o.Fields(), 3)
	v, ok := o.Get("a")
	require.True(t, ok)
	require.Equal(t, "1.50e+3", string(v))
	v, ok = o.Get("bé😀\n")
	require.True(t, ok)
	require.Equal(t, "[1, 2]", string(v))
	require.True(t, o.Has(""))
	require.False(t, o.Has("c"))
}

func TestParseTopLetsProvidersBeSloppyButNotBroken(t *testing.T) {
	var o jsonscan.Object
	require.NoError(t, o.ParseTop([]byte("{\"a\":\"\xff\",\"a\":2,\"b\":{\"c\":1,\"c\":2}}")))
	v, _ := o.Get("a")
	require.Equal(t, "2", string(v), "the last one counts")
	require.Error(t, o.ParseTop([]byte(`{"a":}`)))
	require.Error(t, o.ParseTop([]byte(`<html>`)))
}

func TestScalars(t *testing.T) {
	s, ok := jsonscan.String([]byte(`"a\"\\\/\b\f\n\r\t\u0041\ud83d\ude00\ud83dz"`))
	require.True(t, ok)
	require.Equal(t, "a\"\\/\b\f\n\r\tA😀\ufffdz", s)
	_, ok = jsonscan.String([]byte(`1`))
	require.False(t, ok)
	b, ok := jsonscan.Bool([]byte("true"))
	require.True(t, b && ok)
	b, ok = jsonscan.Bool([]byte("false"))
	require.True(t, !b && ok)
	_, ok = jsonscan.Bool([]byte(`"true"`))
	require.False(t, ok)
	for in, want := range map[string]int64{"0": 0, "-7": -7, "4096": 4096, "1e3": 1000, "2.0": 2,
		"9223372036854775807": 9223372036854775807, "999999999999999999": 999999999999999999} {
		n, ok := jsonscan.Int([]byte(in))
		require.True(t, ok, in)
		require.Equal(t, want, n, in)
	}
	for _, in := range []string{"", "1.5", "1e300", "9223372036854775808", "null", `"1"`, "1e40"} {
		_, ok := jsonscan.Int([]byte(in))
		require.False(t, ok, in)
	}
}

func TestTextLenIsTheLengthOfTheText(t *testing.T) {
	for _, in := range []string{`""`, `"abc"`, `"\n\""`, `"\u00e9x"`, `"\ud83d\ude00!"`, `"\ud83d"`, `"日本"`, `"\\u1234"`} {
		s, ok := jsonscan.String([]byte(in))
		require.True(t, ok)
		require.Equal(t, len(s), jsonscan.TextLen([]byte(in)), in)
	}
	require.Zero(t, jsonscan.TextLen([]byte("null")))
	require.Zero(t, jsonscan.TextLen(nil))
}

func TestAppendQuotedReadsBackTheSame(t *testing.T) {
	for _, in := range []string{"", "plain", "q\"b\\s/\n\r\t\x01\x1f", "é日本😀", "<b>&amp;"} {
		raw := jsonscan.AppendQuoted(nil, in)
		var back string
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, in, back)
	}
	require.Equal(t, "\"a\ufffdb\"", string(jsonscan.AppendQuoted(nil, "a\xffb")))
}

func TestRewriteChangesOnlyWhatIsNamed(t *testing.T) {
	drop := func(names ...string) func([]byte) bool {
		return func(k []byte) bool {
			for _, n := range names {
				if string(k) == n {
					return true
				}
			}
			return false
		}
	}
	set := func(kv ...string) (out []jsonscan.Edit) {
		for i := 0; i < len(kv); i += 2 {
			e := jsonscan.Edit{Key: kv[i]}
			if kv[i+1] != "" {
				e.Value = []byte(kv[i+1])
			}
			out = append(out, e)
		}
		return out
	}
	for _, c := range []struct {
		in, want string
		edits    []jsonscan.Edit
		drop     func([]byte) bool
	}{
		{`{"a":1, "b" : 1.0e2 }`, `{"a":1, "b" : 1.0e2 }`, nil, nil},
		{` {"a":1, "b":2}`, ` {"a":"x", "b":2}`, set("a", `"x"`), nil},
		{`{"a":1, "b":2, "c":3}`, `{"a":1, "c":3}`, nil, drop("b")},
		{`{ "a":1, "b":2, "c":3 }`, `{ "b":2, "c":3 }`, nil, drop("a")},
		{`{ "a":1, "b":2, "c":3 }`, `{ "a":1, "b":2 }`, nil, drop("c")},
		{`{ "a":1, "b":2, "c":3 }`, `{ "b":2 }`, set("a", "", "c", ""), nil},
		{`{"a":1,"b":2}`, `{}`, nil, drop("a", "b")},
		{`{ }`, `{"z":0 }`, set("z", "0"), nil},
		{`{}`, `{"z":0,"y":[1]}`, set("z", "0", "y", "[1]"), nil},
		{`{"a":1}`, `{"a":1,"z\"":0}`, set("z\"", "0"), nil},
		{`{"a":1,"b":2}`, `{"z":0}`, set("z", "0", "q", ""), drop("a", "b")},
		{`{"a":1}`, `{"a":3}`, set("a", "2", "a", "3"), nil},
		{`{"b":1}`, `{"b":1,"a":3}`, set("a", "2", "a", "3"), nil},
		{`{"m\u006fdel":1,"x":2}`, `{"m\u006fdel":9,"x":2}`, set("model", "9"), nil},
		{`{"a":1}`, `{"a":5}`, set("a", "5"), drop("a")},
	} {
		var o jsonscan.Object
		require.NoError(t, o.Parse([]byte(c.in)))
		require.Equal(t, "pre"+c.want, string(o.Rewrite([]byte("pre"), c.edits, c.drop)), c.in)
	}
}

func TestWalkSeesMembersAndElements(t *testing.T) {
	raw := []byte(`{ "a" : [ 1 , "x,]}" , {"b":[]} , null ], "c\"":{"d":true} , "e":-1.5e3}`)
	var o jsonscan.Object
	require.NoError(t, o.Parse(raw))
	var keys, values []string
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			break
		}
		keys, values = append(keys, string(k)), append(values, string(v))
	}
	require.Equal(t, []string{`"a"`, `"c\""`, `"e"`}, keys)
	require.Equal(t, []string{`[ 1 , "x,]}" , {"b":[]} , null ]`, `{"d":true}`, `-1.5e3`}, values)
	var elems []string
	for it := jsonscan.Walk(jsonscan.Find(raw, "a")); ; {
		v, ok := it.Element()
		if !ok {
			break
		}
		elems = append(elems, string(v))
	}
	require.Equal(t, []string{"1", `"x,]}"`, `{"b":[]}`, "null"}, elems)
	require.Nil(t, jsonscan.Find(raw, "d"))
	for _, empty := range []string{"", "{}", "[]", "[ ]", "{ }", "null", "12", `"s"`} {
		it := jsonscan.Walk([]byte(empty))
		_, ok := it.Element()
		require.False(t, ok, empty)
	}
}

func TestCursorReadsNestedValuesInOnePass(t *testing.T) {
	raw := []byte(` [ {"a":1,"b":{"c":"x}","d":[1,[2]]} , "e":null}, 7,{},{"a": {"z":[]} } ] `)
	var got []string
	c := jsonscan.CursorAt(raw)
	require.True(t, c.Enter('['))
	for c.More() {
		if !c.Enter('{') {
			got = append(got, "not an object")
			continue
		}
		for k, ok := c.Key(); ok; k, ok = c.Key() {
			if string(k) == "b" && c.Enter('{') {
				for in, more := c.Key(); more; in, more = c.Key() {
					got = append(got, "b."+string(in)+"="+string(c.Value()))
				}
				continue
			}
			got = append(got, string(k)+"="+string(c.Value()))
		}
	}
	require.Equal(t, []string{"a=1", `b.c="x}"`, "b.d=[1,[2]]", "e=null", "not an object", `a={"z":[]}`}, got)
	empty := jsonscan.CursorAt(nil)
	require.False(t, empty.Enter('{'))
	require.False(t, empty.More())
}

func TestErrorsAreValuesOfTheirOwn(t *testing.T) {
	var o jsonscan.Object
	first := o.Parse([]byte(`{"a":1,"a":2}`))
	second := o.Parse([]byte(`{`))
	var e *jsonscan.Error
	require.True(t, errors.As(first, &e))
	require.Equal(t, "a", e.Key, "a later document does not change an earlier error")
	require.NotEqual(t, first.Error(), second.Error())
}
