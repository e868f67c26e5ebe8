package call_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

func withCache(change func(c *model.Cache)) option {
	return withConfig(func(cfg *model.Config) {
		cfg.Cache = &model.Cache{Type: model.CacheMemory}
		if change != nil {
			change(cfg.Cache)
		}
	})
}

// counting answers with an id of its own each time.
func counting(w *world, host string, c net.Conn, req *http.Request, body []byte) {
	n := w.asked.Load()
	if strings.HasSuffix(req.URL.Path, "/embeddings") {
		embeds(w, c, body)
		return
	}
	if bytes.Contains(body, []byte(`"stream":true`)) {
		answers(w, host, c, req, body)
		return
	}
	respond(c, 200, "", strings.Replace(wholeAnswer, "chatcmpl-1", fmt.Sprintf("chatcmpl-%d", n), 1))
}

// embeds gives each input the vector of its length and the number of the request.
func embeds(w *world, c net.Conn, body []byte) {
	var in struct{ Input []string }
	if json.Unmarshal(body, &in) != nil {
		var one struct{ Input string }
		_ = json.Unmarshal(body, &one)
		in.Input = []string{one.Input}
	}
	var data []string
	for i, s := range in.Input {
		data = append(data, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":[%d,%d]}`, i, len(s), w.asked.Load()))
	}
	respond(c, 200, "", fmt.Sprintf(`{"object":"list","data":[%s],"model":"e","usage":{"prompt_tokens":%d,"total_tokens":%d}}`, strings.Join(data, ","), 10*len(in.Input), 10*len(in.Input)))
}

func (w *world) counter(name string) float64 {
	w.t.Helper()
	all, err := w.metrics.Gather()
	require.NoError(w.t, err)
	sum := 0.0
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// kept waits until so many answers have been written.
func (w *world) kept(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.stored() >= float64(n) }, 10*time.Second, time.Millisecond, "the answer is not kept")
}

func (w *world) stored() float64 {
	all, err := w.metrics.Gather()
	require.NoError(w.t, err)
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tollgate_cache_writes_total" && m.GetLabel()[0].GetValue() == "stored" {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestACallThatAsksTheSameIsAnsweredForNothing(t *testing.T) {
	w := newWorld(t, withCache(nil), withBudget(unit.Dollar))
	w.serve(counting)
	first := w.post(body("m", `"user":"u","temperature":0.5`))
	require.Equal(t, 200, first.status, first.body)
	key := first.header.Get("X-Litellm-Cache-Key")
	require.Len(t, key, 64)
	w.kept(1)
	again := w.post(`{"temperature": 0.5, "metadata":{"a":"b"}, "messages":[ {"role":"user","content":"hello there"}],"user":"u","model":"m"}`)
	require.Equal(t, 200, again.status)
	require.JSONEq(t, first.body, again.body)
	require.Equal(t, key, again.header.Get("X-Litellm-Cache-Key"))
	require.Equal(t, "0", again.header.Get("X-Litellm-Response-Cost"))
	require.Equal(t, "first", again.header.Get("X-Litellm-Model-Id"))
	require.EqualValues(t, 1, w.asked.Load(), "the provider is asked once")
	w.quiet()
	rows := w.entries()
	require.Len(t, rows, 2)
	miss, hit := rows[0], rows[1]
	require.Equal(t, "False", miss.CacheHit)
	require.Equal(t, key, miss.CacheKey)
	require.Positive(t, miss.Cost.Total)
	require.Equal(t, "True", hit.CacheHit)
	require.Equal(t, key, hit.CacheKey)
	require.Zero(t, hit.Cost.Total)
	require.True(t, hit.Cost.Priced)
	require.Equal(t, miss.Cost.Total, hit.Saved)
	require.Equal(t, miss.Usage.Total(), hit.Usage.Total())
	require.Equal(t, "first", hit.ModelID)
	require.Equal(t, store.Success, hit.Status)
	require.Regexp(t, `^chatcmpl-1_cache_hit\d+\.\d{6}$`, hit.RequestID)
	require.Zero(t, hit.Attempts)
	require.Equal(t, 1.0, w.counter("litellm_cache_hits_metric_total"))
	require.Equal(t, 1.0, w.counter("litellm_cache_misses_metric_total"))
	require.Equal(t, 150.0, w.counter("litellm_cached_tokens_metric_total"))
	require.Equal(t, 1.0, w.counter("litellm_deployment_total_requests_total"))
	require.Equal(t, 2.0, w.counter("litellm_proxy_total_requests_metric_total"))
}

func TestAKeptAnswerCountsAgainstRequests(t *testing.T) {
	two := int64(2)
	w := newWorld(t, withCache(nil), withKey(func(k *model.Key) { k.RPM = &two }))
	w.serve(counting)
	require.Equal(t, 200, w.post(body("m", "")).status)
	w.kept(1)
	require.Equal(t, 200, w.post(body("m", "")).status)
	require.Equal(t, 429, w.post(body("m", "")).status)
	require.EqualValues(t, 1, w.asked.Load())
}

func TestControlsOfCachingAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		cache        func(c *model.Cache)
		key          string // metadata
		first, again string // further fields
		header       []string
		kept, hit    bool
	}{
		"plain":                            {kept: true, hit: true},
		"no-cache":                         {again: `"cache":{"no-cache":true}`, kept: true},
		"no-store":                         {first: `"cache":{"no-store":true}`},
		"caching: false":                   {first: `"caching":false`},
		"of the key":                       {key: `{"cache":{"no-store":true}}`},
		"the request is nearer":            {key: `{"cache":{"no-store":true}}`, first: `"cache":{"no-store":false}`, kept: true, hit: true},
		"namespaces apart":                 {first: `"cache":{"namespace":"a"}`, again: `"cache":{"namespace":"b"}`, kept: true},
		"one namespace":                    {first: `"cache":{"namespace":"a"}`, again: `"cache":{"namespace":"a"}`, kept: true, hit: true},
		"a namespace of metadata":          {first: `"metadata":{"redis_namespace":"a"}`, again: `"cache":{"namespace":"a"}`, kept: true, hit: true},
		"too old":                          {again: `"cache":{"s-maxage":0.000001}`, kept: true},
		"young enough":                     {again: `"cache":{"s-maxage":600}`, kept: true, hit: true},
		"its time is over":                 {first: `"cache":{"ttl":0.000001}`, kept: true},
		"by a header":                      {header: []string{"Cache-Control", "s-maxage=0.000001"}, kept: true},
		"opted in":                         {cache: func(c *model.Cache) { c.OptIn = true }, first: `"cache":{"use-cache":true}`, again: `"cache":{"use-cache":true}`, kept: true, hit: true},
		"not opted in":                     {cache: func(c *model.Cache) { c.OptIn = true }},
		"opted in for writing alone":       {cache: func(c *model.Cache) { c.OptIn = true }, first: `"cache":{"use-cache":true}`, kept: true},
		"another kind of call":             {cache: func(c *model.Cache) { c.CallTypes = []string{"embedding"} }},
		"the kind without its a":           {cache: func(c *model.Cache) { c.CallTypes = []string{"completion"} }, kept: true, hit: true},
		"other parameters":                 {again: `"temperature":1`, kept: true},
		"other tags, metadata and retries": {again: `"tags":["x"],"metadata":{"x":1},"num_retries":1,"stream_options":{"include_usage":true}`, kept: true, hit: true},
		"a mocked answer":                  {first: `"mock_response":"x"`},
		"a rehearsal":                      {first: `"mock_testing_fallbacks":true`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withCache(c.cache), withKey(func(k *model.Key) {
				if c.key != "" {
					k.Metadata = []byte(c.key)
				}
			}))
			w.serve(counting)
			w.post(body("m", c.first), c.header...)
			if c.kept {
				w.kept(1)
			}
			asked := w.asked.Load()
			r := w.post(body("m", c.again))
			require.Equal(t, 200, r.status, r.body)
			require.Equal(t, c.hit, w.asked.Load() == asked)
			rows := w.entries()
			require.Equal(t, c.hit, rows[len(rows)-1].CacheHit == "True")
			if !c.kept {
				w.quiet()
				require.LessOrEqual(t, w.stored(), 1.0)
			}
		})
	}
}

// frames are the data lines of a stream.
func frames(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
			out = append(out, data)
		}
	}
	return out
}

func contentOf(t *testing.T, stream string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range frames(stream) {
		if f == "[DONE]" {
			continue
		}
		var c struct {
			Choices []struct{ Delta struct{ Content string } }
			Delta   struct{ Text string }
		}
		require.NoError(t, json.Unmarshal([]byte(f), &c), f)
		for _, ch := range c.Choices {
			b.WriteString(ch.Delta.Content)
		}
		b.WriteString(c.Delta.Text)
	}
	return b.String()
}

func TestAnAnswerServesStreamsAndAStreamAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		path   string
		more   string
		stream bool // the first call
	}{
		"whole first":               {path: "/v1/chat/completions"},
		"stream first":              {path: "/v1/chat/completions", stream: true},
		"whole message first":       {path: "/v1/messages", more: `"max_tokens":50`},
		"stream of a message first": {path: "/v1/messages", more: `"max_tokens":50`, stream: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withCache(nil))
			w.serve(counting)
			with := func(more ...string) string {
				var parts []string
				for _, p := range append(more, c.more) {
					if p != "" {
						parts = append(parts, p)
					}
				}
				return body("m", strings.Join(parts, ","))
			}
			streamed := ""
			if c.stream {
				streamed = `"stream":true`
			}
			first := w.postTo(c.path, with(streamed))
			require.Equal(t, 200, first.status, first.body)
			require.Len(t, first.header.Get("X-Litellm-Cache-Key"), 64)
			w.kept(1)
			text := "hi"
			if c.stream {
				text = "word word word word word "
				require.Equal(t, text, contentOf(t, first.body))
			}
			whole := w.postTo(c.path, with())
			require.Equal(t, 200, whole.status)
			require.Contains(t, whole.header.Get("Content-Type"), "application/json")
			require.Contains(t, whole.body, `"`+text+`"`)
			plain := w.postTo(c.path, with(`"stream":true`))
			require.Contains(t, plain.header.Get("Content-Type"), "text/event-stream")
			require.Equal(t, text, contentOf(t, plain.body))
			usage := w.postTo(c.path, with(`"stream":true`, `"stream_options":{"include_usage":true}`))
			require.Equal(t, text, contentOf(t, usage.body))
			if c.path == "/v1/messages" {
				require.Contains(t, plain.body, "event: message_start")
				require.Contains(t, plain.body, `"output_tokens":50`)
				require.Contains(t, plain.body, `"type":"message_stop"`)
			} else {
				last := frames(usage.body)
				require.Equal(t, "[DONE]", last[len(last)-1])
				require.Contains(t, last[len(last)-2], `"prompt_tokens":100`)
				require.NotContains(t, plain.body, `"prompt_tokens"`)
			}
			require.EqualValues(t, 1, w.asked.Load())
			w.quiet()
			for _, row := range w.entries()[1:] {
				require.Equal(t, "True", row.CacheHit)
				require.Zero(t, row.Cost.Total)
				require.EqualValues(t, 150, row.Usage.Total())
				require.NotZero(t, row.End)
			}
		})
	}
}

func TestOnlyGoodWholeAnswersAreKept(t *testing.T) {
	fails := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) { respond(c, 500, "", `{"error":{}}`) }
	filtered := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		respond(c, 200, "", strings.Replace(wholeAnswer, `"stop"`, `"content_filter"`, 1))
	}
	cut := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("word "))
		_, _ = io.WriteString(c, "0\r\n\r\n")
	}
	erring := func(_ *world, _ string, c net.Conn, _ *http.Request, _ []byte) {
		beginStream(c)
		_ = chunk(c, delta("word "))
		_ = chunk(c, "data: {\"error\":{\"message\":\"x\"}}\n\n")
		_, _ = io.WriteString(c, "0\r\n\r\n")
	}
	for name, c := range map[string]struct {
		provider func(w *world, host string, c net.Conn, req *http.Request, body []byte)
		more     string
	}{
		"a failure":           {fails, ""},
		"cut by a filter":     {filtered, ""},
		"half a stream":       {cut, `"stream":true`},
		"a stream with error": {erring, `"stream":true`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withCache(nil))
			w.serve(c.provider)
			w.post(body("m", c.more))
			w.quiet()
			w.serve(counting)
			asked := w.asked.Load()
			require.Equal(t, 200, w.post(body("m", "")).status)
			require.Equal(t, asked+1, w.asked.Load())
		})
	}
	t.Run("cut by a budget", func(t *testing.T) {
		w := newWorld(t, withCache(nil), withBudget(3_000_000))
		w.serve(counting)
		for range 5 { // so that it is known how long answers are
			require.Equal(t, 200, w.post(body("m", `"cache":{"no-store":true}`)).status)
		}
		r := w.post(body("m", ""))
		require.Equal(t, 200, r.status, r.body)
		require.NotEmpty(t, r.header.Get("X-Tollgate-Max-Output-Tokens"))
		w.quiet()
		require.Zero(t, w.stored())
	})
	t.Run("of a fallback", func(t *testing.T) {
		w := newWorld(t, withCache(nil), withConfig(func(cfg *model.Config) { cfg.Router.Fallbacks = map[string][]string{"m": {"spare"}} }))
		w.serve(func(w *world, host string, c net.Conn, req *http.Request, body []byte) {
			if strings.HasPrefix(host, "first") {
				respond(c, 500, "", `{"error":{}}`)
				return
			}
			counting(w, host, c, req, body)
		})
		require.Equal(t, 200, w.post(body("m", "")).status)
		w.quiet()
		require.Zero(t, w.stored(), "it is no answer of the model that was asked")
	})
}

func TestScopesKeepAnswersApart(t *testing.T) {
	post := func(w *world, key string) {
		require.Equal(w.t, 200, w.post(body("m", ""), "Authorization", "Bearer "+key).status)
	}
	for scope, hits := range map[string]bool{"": true, model.CacheForAll: true, model.CacheForKey: false, model.CacheForTeam: false, model.CacheForOrganization: false} {
		t.Run(scope, func(t *testing.T) {
			w := newWorld(t, withCache(func(c *model.Cache) { c.Scope = scope }))
			w.serve(counting)
			post(w, theKey)
			w.kept(1)
			asked := w.asked.Load()
			post(w, master)
			require.Equal(t, hits, w.asked.Load() == asked)
			post(w, theKey)
			require.Equal(t, hits, w.asked.Load() == asked)
		})
	}
}

func TestEmbeddingsAreKeptItemByItem(t *testing.T) {
	w := newWorld(t, withCache(nil))
	w.serve(counting)
	embed := func(input string) map[string]any {
		t.Helper()
		r := w.postTo("/v1/embeddings", `{"model":"m","input":`+input+`}`)
		require.Equal(t, 200, r.status, r.body)
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.body), &out), r.body)
		return out
	}
	vectors := func(answer map[string]any) string {
		s := ""
		for i, d := range answer["data"].([]any) {
			one := d.(map[string]any)
			require.EqualValues(t, i, one["index"])
			require.Equal(t, "embedding", one["object"])
			s += fmt.Sprint(one["embedding"])
		}
		return s
	}
	require.Equal(t, "[1 1][2 1]", vectors(embed(`["a","bb"]`)))
	w.kept(2)
	require.Equal(t, "[2 1][1 1]", vectors(embed(`["bb","a"]`)), "all are kept")
	require.EqualValues(t, 1, w.asked.Load())
	require.Equal(t, "[1 1]", vectors(embed(`"a"`)), "one of a list serves one alone")
	partial := embed(`["ccc","a","dddd","bb"]`)
	require.Equal(t, "[3 2][1 1][4 2][2 1]", vectors(partial), "the rest is asked for")
	require.EqualValues(t, 2, w.asked.Load())
	require.Equal(t, "m", partial["model"])
	require.EqualValues(t, 20, partial["usage"].(map[string]any)["prompt_tokens"], "what was asked for now")
	w.kept(4)
	require.Equal(t, "[4 2][3 2]", vectors(embed(`["dddd","ccc"]`)))
	w.quiet()
	var hits []string
	for _, e := range w.entries() {
		hits = append(hits, e.CacheHit)
		if e.CacheHit == "True" {
			require.Zero(t, e.Cost.Total)
		} else {
			require.Positive(t, e.Cost.Total)
			require.EqualValues(t, 20, e.Usage.Prompt())
		}
	}
	require.Equal(t, []string{"False", "True", "True", "False", "True"}, hits)
}

func TestCallersOfOtherRegionsAskTheProvider(t *testing.T) {
	w := newWorld(t, withCache(nil), withConfig(func(cfg *model.Config) {
		for i := range cfg.Deployments {
			cfg.Deployments[i].Params["region_name"] = []byte(`"here"`)
		}
	}), withKey(func(k *model.Key) { k.DataRegions = []string{"here", "there"} }))
	w.serve(counting)
	require.Equal(t, 200, w.post(body("m", "")).status)
	w.kept(1)
	require.Equal(t, 200, w.post(body("m", ""), "Authorization", "Bearer "+master).status)
	require.EqualValues(t, 2, w.asked.Load(), "answers of callers with a rule are not given to those without")
	r := w.post(body("m", ""))
	require.Equal(t, 200, r.status, r.body)
	require.EqualValues(t, 2, w.asked.Load())
	require.NoError(t, w.cache.Use(&model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{Host: "127.0.0.1", Port: 1, Timeout: 0.01}}))
	r = w.post(body("m", ""))
	require.Equal(t, 200, r.status, "a store that is away fails nothing")
	require.Empty(t, r.header.Get("X-Litellm-Cache-Key"), "nobody knows where this Redis is")
	require.NotEmpty(t, w.post(body("m", ""), "Authorization", "Bearer "+master).header.Get("X-Litellm-Cache-Key"))
}

func TestAliasesAndCachingGroupsShareAnswers(t *testing.T) {
	w := newWorld(t, withCache(func(c *model.Cache) { c.Groups = [][]string{{"m", "spare"}} }),
		withConfig(func(cfg *model.Config) {
			cfg.Router.Aliases = map[string]model.AliasTarget{"nick": {Groups: []string{"m"}}}
		}))
	w.serve(counting)
	require.Equal(t, 200, w.post(body("m", "")).status)
	w.kept(1)
	for _, name := range []string{"nick", "spare"} {
		r := w.post(body(name, ""))
		require.Equal(t, 200, r.status)
		require.Contains(t, r.body, `"model":"`+name+`"`, "the name that was asked for")
		require.Contains(t, r.body, `"chatcmpl-1"`)
	}
	require.EqualValues(t, 1, w.asked.Load())
}
