package cache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/cache"
)

func TestControlsOfACall(t *testing.T) {
	both := cache.Controls{Read: true, Write: true}
	for name, c := range map[string]struct {
		optIn              bool
		key, call, caching string
		want               cache.Controls
	}{
		"nothing is said":                      {want: both},
		"no-cache does not read":               {call: `{"no-cache":true}`, want: cache.Controls{Write: true}},
		"no-store does not write":              {call: `{"no-store":true}`, want: cache.Controls{Read: true}},
		"both":                                 {call: `{"no-store":true,"no-cache":true}`},
		"a key says it for its calls":          {key: `{"no-cache":true}`, want: cache.Controls{Write: true}},
		"the call is nearer than the key":      {key: `{"no-cache":true}`, call: `{"no-cache":false}`, want: both},
		"opted in":                             {optIn: true, call: `{"use-cache":true}`, want: both},
		"not opted in":                         {optIn: true},
		"caching: true opts in":                {optIn: true, caching: "true", want: both},
		"caching: false opts out":              {caching: "false", call: `{"use-cache":true}`},
		"ttl":                                  {call: `{"ttl":300}`, want: cache.Controls{Read: true, Write: true, TTL: 5 * time.Minute}},
		"ttl as text":                          {call: `{"ttl":"1.5"}`, want: cache.Controls{Read: true, Write: true, TTL: 1500 * time.Millisecond}},
		"s-maxage":                             {call: `{"s-maxage":10}`, want: cache.Controls{Read: true, Write: true, MaxAge: 10 * time.Second}},
		"s-max-age":                            {call: `{"s-max-age":10}`, want: cache.Controls{Read: true, Write: true, MaxAge: 10 * time.Second}},
		"namespace":                            {call: `{"namespace":"n"}`, want: cache.Controls{Read: true, Write: true, Namespace: "n"}},
		"wrong types say nothing":              {call: `{"ttl":true,"no-cache":"yes","s-maxage":-1,"namespace":3,"use-cache":1}`, want: both},
		"a key that is spelled with an escape": {call: `{"no\u002dcache":true}`, want: cache.Controls{Write: true}},
		"no object":                            {call: `[true]`, want: both},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, cache.ControlsOf(c.optIn, []byte(c.key), []byte(c.call), []byte(c.caching)))
		})
	}
}

func TestHeaderSaysHowLong(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"s-maxage=600": 10 * time.Minute, "public, S-MaxAge=2": 2 * time.Second, "no-cache": 0, "s-maxage": 0, "s-maxage=x": 0, "": 0,
	} {
		require.Equal(t, want, cache.HeaderTTL([]byte(header)), header)
	}
}
