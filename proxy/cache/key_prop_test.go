package cache_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/proxy/cache"
	"tollgate/proxy/jsonscan"
)

func question(t require.TestingT, body string) *cache.Question {
	var o jsonscan.Object
	require.NoError(t, o.Parse([]byte(body)))
	return &cache.Question{Kind: "acompletion", Group: "g", Fields: &o, Gateway: func(k []byte) bool { return string(k) == "tags" }}
}

// bodyOf writes fields in an order and with white space of its own.
func bodyOf(fields map[string]string, order []string, space string) string {
	var parts []string
	for _, name := range order {
		if v, ok := fields[name]; ok {
			parts = append(parts, space+`"`+name+`"`+space+":"+space+v)
		}
	}
	return "{" + strings.Join(parts, space+",") + space + "}"
}

var names = []string{"messages", "temperature", "top_p", "n", "stop", "max_tokens", "tools", "seed", "user", "some_vendor_option"}

func fieldsOf(t *rapid.T) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		if rapid.Bool().Draw(t, "has "+name) {
			v, err := json.Marshal(rapid.String().Draw(t, name))
			require.NoError(t, err)
			out[name] = string(v)
		}
	}
	return out
}

func TestOrderAndWhiteSpaceDoNotChangeTheKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := fieldsOf(t)
		other := append([]string(nil), names...)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		space := rapid.SampledFrom([]string{"", " ", "\n\t", "  \r\n"}).Draw(t, "space")
		a, b := question(t, bodyOf(fields, names, "")), question(t, bodyOf(fields, other, space))
		require.Equal(t, a.Key(), b.Key())
		require.Len(t, a.Key(), 64)
	})
}

func TestWhatDoesNotReachTheModelDoesNotChangeTheKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := fieldsOf(t)
		plain := question(t, bodyOf(fields, names, "")).Key()
		for _, name := range []string{"model", "stream", "stream_options", "metadata", "tags"} {
			fields[name] = rapid.SampledFrom([]string{"true", `"x"`, `{"a":1}`}).Draw(t, name)
		}
		fields["presence_penalty"] = "null"
		require.Equal(t, plain, question(t, bodyOf(fields, append([]string{"model", "stream", "stream_options", "metadata", "tags", "presence_penalty"}, names...), "")).Key())
	})
}

func TestEveryFieldOfTheModelChangesTheKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := fieldsOf(t)
		before := question(t, bodyOf(fields, names, "")).Key()
		name := rapid.SampledFrom(names).Draw(t, "changed")
		was, had := fields[name]
		if had && rapid.Bool().Draw(t, "dropped") {
			delete(fields, name)
		} else {
			fields[name] = rapid.SampledFrom([]string{"0", "1", `"other"`, `[{"a":"b"}]`}).Draw(t, "value")
		}
		if fields[name] == was {
			t.Skip("nothing has changed")
		}
		require.NotEqual(t, before, question(t, bodyOf(fields, names, "")).Key())
	})
}

func TestWhoAndWhereChangeTheKey(t *testing.T) {
	keys := map[string]bool{}
	add := func(change func(q *cache.Question)) {
		q := question(t, `{"messages":[{"role":"user","content":"a"}]}`)
		change(q)
		require.False(t, keys[q.Key()], "two questions have one key")
		keys[q.Key()] = true
	}
	add(func(*cache.Question) {})
	add(func(q *cache.Question) { q.Kind = "atext_completion" })
	add(func(q *cache.Question) { q.Group = "h" })
	add(func(q *cache.Question) { q.Beta = "b" })
	add(func(q *cache.Question) { q.Owner = "k" })
	add(func(q *cache.Question) { q.Regions = []string{"eu"} })
	add(func(q *cache.Question) { q.Regions = []string{"eu", "us"} })
	add(func(q *cache.Question) { q.Namespace = "ns" })
	a, b := question(t, `{"a":1}`), question(t, `{"a":1}`)
	a.Regions, b.Regions = []string{"us", "eu"}, []string{"eu", "us", "eu"}
	require.Equal(t, a.Key(), b.Key(), "a set has no order")
	a.Namespace = "team:a"
	require.Regexp(t, `^team:a:[0-9a-f]{64}$`, a.Key())
}

func TestItemsOfAnEmbeddingHaveKeysOfTheirOwn(t *testing.T) {
	one, many := question(t, `{"input":"a","dimensions":3}`), question(t, `{"dimensions":3,"input":["a","b"]}`)
	require.Equal(t, one.Key(), many.ItemKey([]byte(`"a"`)), "an item of a list is asked as it is alone")
	require.NotEqual(t, many.ItemKey([]byte(`"a"`)), many.ItemKey([]byte(`"b"`)))
	require.NotEqual(t, one.Key(), question(t, `{"input":"a","dimensions":4}`).Key())
}

func TestGroupsOfOneCachingGroupShareAnswers(t *testing.T) {
	c := &model.Cache{Groups: [][]string{{"a", "b"}, {"d", "c"}}}
	require.Equal(t, cache.GroupOf(c, "a"), cache.GroupOf(c, "b"))
	require.NotEqual(t, cache.GroupOf(c, "a"), cache.GroupOf(c, "c"))
	require.Equal(t, "e", cache.GroupOf(c, "e"))
}
