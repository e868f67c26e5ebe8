package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/fake"
	"tollgate/proxy/cache/redistest"
)

// cached is the usual config with a cache.
func cached(f *fake.Server, params, more string) string {
	return configFor(f, more) + "\nlitellm_settings:\n  cache: true\n  cache_params: " + params + "\n"
}

// hits asks until the answer is a kept one: answers are kept off the way of calls.
func hits(t testing.TB, n *node, key, model, text, more string) answer {
	t.Helper()
	var a answer
	eventually(t, soon, "the answer is kept", func() error {
		a = n.chat(t, key, model, text, more)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a.header.Get("x-litellm-response-cost") != "0" && !strings.Contains(more, "stream") {
			return fmt.Errorf("the provider was asked")
		}
		return nil
	})
	return a
}

func TestAnswersAreKeptInMemoryWithoutARedis(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: cached(f, "{ttl: 600}", "")})
	if !strings.Contains(n.log.String(), "no Redis is named") {
		t.Error("nothing tells that answers are kept in memory")
	}
	key := n.newKey(t, `"max_budget":1`)
	first := n.chat(t, key, "gpt", "hello", "")
	if first.status != 200 {
		t.Fatalf("%d %s", first.status, first.body)
	}
	again := hits(t, n, key, "gpt", "hello", "")
	asked := f.Count()
	if again.get("choices.0.message.content").String() != first.get("choices.0.message.content").String() {
		t.Errorf("%s is not %s", again.body, first.body)
	}
	name := again.header.Get("x-litellm-cache-key")
	for what, more := range map[string]string{"plain": `"stream":true`, "usage": `"stream":true,"stream_options":{"include_usage":true}`} {
		a := n.chat(t, key, "gpt", "hello", more)
		if a.header.Get("x-litellm-cache-key") != name || !strings.Contains(a.body, "[DONE]") || deltas(a.body) != first.get("choices.0.message.content").String() {
			t.Errorf("%s: %s", what, a.body)
		}
	}
	if got := f.Count(); got != asked {
		t.Errorf("the provider was asked %d times more", got-asked)
	}
	for _, more := range []string{`"cache":{"no-cache":true}`, `"cache":{"namespace":"other"}`, `"caching":false`, `"cache":{"s-maxage":0.000001}`} {
		before := f.Count()
		if a := n.chat(t, key, "gpt", "hello", more); a.status != 200 || f.Count() != before+1 {
			t.Errorf("%s: the provider was asked %d times", more, f.Count()-before)
		}
	}
	var row gjson.Result
	eventually(t, soon, "the hit has its row", func() error {
		for _, r := range n.rowsOfKey(t, key) {
			if r.Get("cache_hit").String() == "True" {
				row = r
				return nil
			}
		}
		return fmt.Errorf("no row of a hit")
	})
	if row.Get("spend").Float() != 0 || row.Get("cache_key").String() != name || !strings.Contains(row.Get("request_id").String(), "_cache_hit") || row.Get("total_tokens").Int() == 0 {
		t.Errorf("row of the hit: %s", row.Raw)
	}
	if a := n.get(t, "/cache/ping", masterKey); a.status != 200 || a.get("cache_type").String() != "local" || a.get("status").String() != "healthy" {
		t.Errorf("ping: %d %s", a.status, a.body)
	}
	if a := n.get(t, "/cache/ping", key); a.status == 200 {
		t.Error("any key may ask about the cache")
	}
	if a := n.get(t, "/cache/redis/info", masterKey); a.status != 503 {
		t.Errorf("there is no Redis to tell of: %d %s", a.status, a.body)
	}
	forgets := func(path, body string) {
		t.Helper()
		hits(t, n, key, "gpt", "hello", "")
		if a := n.do(t, "POST", path, masterKey, body); a.status != 200 || a.get("status").String() != "success" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		before := f.Count()
		n.chat(t, key, "gpt", "hello", "")
		if f.Count() != before+1 {
			t.Errorf("%s has not forgotten the answer", path)
		}
	}
	forgets("/cache/delete", `{"keys":["`+name+`"]}`)
	forgets("/cache/flushall", "")
	if a := n.get(t, "/health/readiness", ""); a.get("cache").String() != "local" {
		t.Errorf("readiness: %s", a.body)
	}
}

func TestWhatAnOperatorDeletesIsGoneFromTheMemoryOfEveryNode(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 2, clusterOptions{config: cached(f, "{type: local}", ""), regions: []string{"eu-west", "us-east"}})
	one, two := c.nodes[0], c.nodes[1]
	key := one.newKey(t, "")
	for _, forget := range []struct{ path, body string }{{"/cache/delete", `{"keys":[%q]}`}, {"/cache/flushall", ""}} {
		if a := two.chat(t, key, "gpt", "hello", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		name := hits(t, two, key, "gpt", "hello", "").header.Get("x-litellm-cache-key")
		body := forget.body
		if body != "" {
			body = fmt.Sprintf(body, name)
		}
		if a := one.do(t, "POST", forget.path, masterKey, body); a.status != 200 {
			t.Fatalf("%s: %d %s", forget.path, a.status, a.body)
		}
		before := f.Count()
		if a := two.chat(t, key, "gpt", "hello", ""); a.status != 200 || f.Count() != before+1 {
			t.Errorf("%s on one node has left the answer in the other's memory", forget.path)
		}
		if a := one.do(t, "POST", "/cache/flushall", masterKey, ""); a.status != 200 {
			t.Fatalf("flushall: %d %s", a.status, a.body)
		}
	}
}

func TestNodesShareARedisAndLiveWithoutIt(t *testing.T) {
	f := fake.Start(t)
	r := redistest.Start(t, "--requirepass", "redis-secret")
	config := cached(f, fmt.Sprintf("{type: redis, host: %s, port: %s, password: redis-secret, socket_timeout: 2, region: eu-west, namespace: ns}", r.Host, r.Port),
		"tollgate_settings: {cache: {scope: key}}\n")
	c := startCluster(t, 2, clusterOptions{config: config, regions: []string{"eu-west", "eu-west"}})
	one, two := c.nodes[0], c.nodes[1]
	key, other := one.newKey(t, ""), one.newKey(t, "")
	if a := one.chat(t, key, "gpt", "shared", `"stream":true`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a := hits(t, two, key, "gpt", "shared", "")
	if !strings.HasPrefix(a.header.Get("x-litellm-cache-key"), "ns:") {
		t.Errorf("key: %s", a.header.Get("x-litellm-cache-key"))
	}
	before := f.Count()
	if a := two.chat(t, other, "gpt", "shared", ""); a.status != 200 || f.Count() != before+1 {
		t.Error("another key has been given the answer, which scope: key forbids")
	}
	if a := two.get(t, "/cache/redis/info", masterKey); a.status != 200 || a.get("info.redis_version").String() == "" {
		t.Errorf("info: %d %s", a.status, a.body)
	}
	if a := two.get(t, "/cache/ping", masterKey); a.status != 200 || strings.Contains(a.body, "redis-secret") {
		t.Errorf("ping: %d %s", a.status, a.body)
	}

	r.Kill()
	for i := range 20 {
		begun := time.Now()
		if a := one.chat(t, key, "gpt", "shared", ""); a.status != 200 {
			t.Fatalf("without its Redis: %d %s", a.status, a.body)
		}
		if took := time.Since(begun); i > 5 && took > 2*time.Second {
			t.Errorf("call %d waited %s for a Redis that is away", i, took)
		}
	}
	if a := one.get(t, "/cache/ping", masterKey); a.status != 503 {
		t.Errorf("ping of a dead Redis: %d %s", a.status, a.body)
	}
	r.Again()
	hits(t, two, key, "gpt", "back again", "")
	hits(t, one, key, "gpt", "back again", "")
	for _, n := range c.nodes {
		if strings.Contains(n.log.String(), "redis-secret") {
			t.Error("a log tells the password of the Redis")
		}
	}
}
