package call_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
)

func TestARequestsOwnFallbacksInAllTheirForms(t *testing.T) {
	for name, tc := range map[string]struct {
		more  string
		spare bool // the spare model is asked
		sent  string
	}{
		"none":                                {"", false, ""},
		"a name":                              {`"fallbacks":["spare"]`, true, `"content":"hello there"`},
		"one name without a list":             {`"fallbacks":"spare"`, true, ""},
		"a name that is nowhere, then one":    {`"fallbacks":["nobody","spare"]`, true, ""},
		"a map":                               {`"fallbacks":[{"model":"spare"}]`, true, `"content":"hello there"`},
		"a map whose fields overwrite":        {`"temperature":1,"fallbacks":[{"model":"spare","temperature":0.25,"messages":[{"role":"user","content":"shorter"}]}]`, true, `"shorter"`},
		"of the group":                        {`"fallbacks":[{"m":["spare"]}]`, true, ""},
		"of the group, by map":                {`"fallbacks":[{"m":[{"model":"spare","temperature":0.5}]}]`, true, `"temperature":0.5`},
		"of every group":                      {`"fallbacks":[{"*":["spare"]}]`, true, ""},
		"of another group":                    {`"fallbacks":[{"x":["spare"]}]`, false, ""},
		"before the model's name":             {`"fallbacks":[{"m":["spare"]}]`, true, ""},
		"switched off":                        {`"fallbacks":["spare"],"disable_fallbacks":true`, false, ""},
		"a number":                            {`"fallbacks":5`, false, ""},
		"context fallbacks alone":             {`"context_window_fallbacks":["spare"]`, false, ""},
		"rehearsed":                           {`"mock_testing_fallbacks":true,"fallbacks":["spare"]`, true, ""},
		"rehearsed, context":                  {`"mock_testing_context_fallbacks":true,"context_window_fallbacks":[{"m":["spare"]}]`, true, ""},
		"rehearsed, context, by the docs":     {`"mock_testing_context_window_fallbacks":true,"context_window_fallbacks":["spare"]`, true, ""},
		"rehearsed, context, plain fallbacks": {`"mock_testing_context_fallbacks":true,"fallbacks":["spare"]`, true, ""},
		"rehearsed, content":                  {`"mock_testing_content_policy_fallbacks":true,"content_policy_fallbacks":["spare"]`, true, ""},
		"rehearsed, 429":                      {`"mock_testing_rate_limit_error":true`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var mu sync.Mutex
			var sent string
			w.serve(func(w *world, host string, c net.Conn, r *http.Request, b []byte) {
				if host == "second.test" {
					mu.Lock()
					sent = string(b)
					mu.Unlock()
				}
				failing(500, "first.test")(w, host, c, r, b)
			})
			text := body("m", tc.more)
			if name == "before the model's name" {
				text = `{` + tc.more + `,` + strings.TrimPrefix(body("m", ""), "{")
			}
			got := w.post(text)
			w.quiet()
			mu.Lock()
			defer mu.Unlock()
			if !tc.spare {
				require.GreaterOrEqual(t, got.status, 400)
				require.Empty(t, sent)
				return
			}
			require.Equal(t, 200, got.status, got.body)
			require.Contains(t, sent, tc.sent)
			require.Contains(t, sent, `"gpt-y"`)
			require.NotContains(t, sent, "fallbacks")
			require.NotContains(t, sent, "mock_testing")
			if strings.Contains(name, "overwrite") {
				require.Contains(t, sent, `"temperature":0.25`)
				require.NotContains(t, sent, "hello there")
			}
			if strings.Contains(name, "rehearsed") {
				require.EqualValues(t, 1, w.asked.Load(), "the model asked for is not called")
			}
		})
	}
}

func TestARequestsFallbacksStandInPlaceOfTheConfigurations(t *testing.T) {
	w := newWorld(t, withConfig(withFallback))
	w.serve(failing(500, "first.test"))
	require.Equal(t, 200, w.post(body("m", "")).status)
	for _, more := range []string{`"fallbacks":[]`, `"fallbacks":[{"x":["spare"]}]`, `"disable_fallbacks":true`} {
		require.Equal(t, 500, w.post(body("m", more)).status, more)
	}
}

func TestAFallbackTheCallerMayNotUseIsPassedOver(t *testing.T) {
	w := newWorld(t, withConfig(withFallback), withKey(func(k *model.Key) { k.Models = []string{"m"} }))
	w.serve(failing(500, "first.test"))
	for _, more := range []string{"", `"fallbacks":["spare"]`, `"fallbacks":[{"model":"spare","temperature":1}]`} {
		require.Equal(t, 500, w.post(body("m", more)).status)
	}
	require.EqualValues(t, 3, w.asked.Load())
}

func TestARequestCannotNameEndlesslyManyFallbacks(t *testing.T) {
	w := newWorld(t, withConfig(func(c *model.Config) {
		c.Deployments = append(c.Deployments, model.Deployment{ID: "any", Group: "any/*", Params: model.Params{
			"model": []byte(`"openai/*"`), "api_key": []byte(`"k"`), "api_base": []byte(`"http://first.test/v1"`)}})
	}))
	w.serve(failing(500, "first.test"))
	names := make([]string, 500)
	for i := range names {
		names[i] = fmt.Sprintf(`"any/%d"`, i)
	}
	got := w.post(body("m", `"fallbacks":[`+strings.Join(names, ",")+`]`))
	require.Equal(t, 500, got.status)
	require.LessOrEqual(t, w.asked.Load(), int64(33))
	require.LessOrEqual(t, len(w.only().Tried), 24)
}
