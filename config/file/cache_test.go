package file_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/file"
	"tollgate/config/model"
)

func TestCacheSettings(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		env  map[string]string
		want *model.Cache
		warn string // part of the one warning there is; "" none
	}{
		"none": {text: `litellm_settings: {cache_params: {type: redis, host: h}}`},
		"off":  {text: `litellm_settings: {cache: false, cache_params: {type: redis, host: h}}`},
		"no Redis is named": {text: `litellm_settings: {cache: true}`,
			want: &model.Cache{Type: "local"}, warn: "no Redis is named"},
		"from the environment": {text: `litellm_settings: {cache: true}`,
			env:  map[string]string{"REDIS_HOST": "h", "REDIS_PORT": "6380", "REDIS_PASSWORD": "p", "REDIS_SSL": "True", "REDIS_SOCKET_TIMEOUT": "0.5"},
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Host: "h", Port: 6380, Password: "p", TLS: true, Timeout: 0.5}}},
		"in memory": {text: `litellm_settings: {cache: true, cache_params: {type: local, ttl: 30, namespace: n, mode: default_off, supported_call_types: [acompletion]}}
tollgate_settings: {cache: {scope: team, max_items: 5, max_bytes: 1000}}`,
			env:  map[string]string{"REDIS_HOST": "h", "MAX_SIZE_PER_ITEM_IN_MEMORY_CACHE_IN_KB": "64"},
			want: &model.Cache{Type: "local", TTL: 30, Namespace: "n", OptIn: true, CallTypes: []string{"acompletion"}, Scope: "team", MaxItems: 5, MaxBytes: 1000, MaxItemBytes: 64 << 10}},
		"defaults of the store": {text: `litellm_settings: {cache: true, cache_params: {host: h, default_in_redis_ttl: 7, default_in_memory_ttl: 8}}`,
			want: &model.Cache{Type: "redis", TTL: 7, Redis: &model.RedisPlace{Host: "h"}}},
		"what cache_params leave out the router says": {text: `litellm_settings: {cache: true, cache_params: {db: 2, region: eu}}
router_settings: {redis_host: r, redis_port: "7000", redis_password: pw, caching_groups: [[a, b]]}`,
			env:  map[string]string{"REDIS_HOST": "other", "REDIS_USERNAME": "u"},
			want: &model.Cache{Type: "redis", Groups: [][]string{{"a", "b"}}, Redis: &model.RedisPlace{Host: "r", Port: 7000, Username: "u", Password: "pw", DB: 2, Region: "eu"}}},
		"the router alone": {text: `router_settings: {cache_responses: true, redis_url: "redis://h:1/0"}`,
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{URL: "redis://h:1/0"}}},
		"a cluster": {text: `litellm_settings: {cache: true, cache_params: {redis_startup_nodes: [{host: a, port: "7001"}, {host: b, port: 7002}]}}`,
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Nodes: []string{"a:7001", "b:7002"}}}},
		"sentinels": {text: `litellm_settings: {cache: true, cache_params: {service_name: s, sentinel_nodes: [[a, 26379]], sentinel_password: p, max_connections: 9}}`,
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Sentinels: []string{"a:26379"}, Service: "s", SentinelPassword: "p", Connections: 9}}},
		"a cluster of the environment": {text: `litellm_settings: {cache: true}`,
			env:  map[string]string{"REDIS_CLUSTER_NODES": `[{"host":"a","port":"7001"}]`},
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Nodes: []string{"a:7001"}}}},
		"sentinels of the environment": {text: `litellm_settings: {cache: true}`,
			env:  map[string]string{"REDIS_SENTINEL_NODES": `[["a", 26379]]`, "REDIS_SERVICE_NAME": "s"},
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Sentinels: []string{"a:26379"}, Service: "s"}}},
		"nonsense in the environment": {text: `litellm_settings: {cache: true, cache_params: {host: h}}`,
			env:  map[string]string{"REDIS_CLUSTER_NODES": `nodes`, "REDIS_PORT": "many", "REDIS_DB": "-1"},
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Host: "h"}}, warn: "REDIS_CLUSTER_NODES"},
		"for limits only": {text: `litellm_settings: {cache: true, cache_params: {host: h, supported_call_types: []}}`},
		"a store that we lack": {text: `litellm_settings: {cache: true, cache_params: {type: s3, s3_bucket_name: b}}`,
			want: &model.Cache{Type: "local"}, warn: "not available"},
		"similar questions": {text: `litellm_settings: {cache: true, cache_params: {type: redis-semantic, host: h, similarity_threshold: 0.8}}`,
			want: &model.Cache{Type: "redis", Redis: &model.RedisPlace{Host: "h"}}, warn: "equal questions"},
		"a slip": {text: `litellm_settings: {cache: true, cache_params: {type: local, tlt: 5}}`,
			want: &model.Cache{Type: "local"}, warn: "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := file.Parse("c.yaml", []byte(c.text), func(n string) (string, bool) { v, ok := c.env[n]; return v, ok }, nil)
			require.NoError(t, err)
			require.Equal(t, c.want, loaded.Config.Cache)
			if c.warn == "" {
				require.Empty(t, loaded.Warnings)
				return
			}
			require.Len(t, loaded.Warnings, 1)
			require.Contains(t, loaded.Warnings[0].Error(), c.warn)
		})
	}
}

func TestBadCacheSettingsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`litellm_settings: {cache: true, cache_params: [a]}`:                                "want a map",
		`litellm_settings: {cache: true, cache_params: {type: reddis}}`:                     "did you mean redis",
		`litellm_settings: {cache: true, cache_params: {host: h, port: 70000}}`:             "65535",
		`litellm_settings: {cache: true, cache_params: {sentinel_nodes: [[a, 1]]}}`:         "service_name",
		`litellm_settings: {cache: true, cache_params: {redis_startup_nodes: [{host: a}]}}`: "host and port",
		`litellm_settings: {cache: true, cache_params: {ttl: soon}}`:                        "want a number",
		`router_settings: {caching_groups: a}`:                                              "list of lists",
		`tollgate_settings: {cache.scope: everyone}`:                                        "unknown value",
	} {
		_, err := file.Parse("c.yaml", []byte(text), nil, nil)
		require.ErrorContains(t, err, want, text)
	}
}

func TestPasswordsOfARedisAreNotShown(t *testing.T) {
	loaded, err := file.Parse("c.yaml", []byte(`litellm_settings: {cache: true, cache_params: {url: "redis://:secret-1@h", password: secret-2, sentinel_password: secret-3}}`), nil, nil)
	require.NoError(t, err)
	shown, err := file.Masked(loaded.Config)
	require.NoError(t, err)
	require.NotContains(t, shown, "secret-")
	require.NotRegexp(t, "secret-", shown)
}
