package clusterapi_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/auth"
)

// Whatever a body holds, a route answers it or says what is wrong with it.
func FuzzBodiesAreAnsweredOrRefused(f *testing.F) {
	paths := []string{"/cluster/token", "/cluster/drain", "/cluster/leave", "/cluster/forget", "/cluster/transfer-leadership",
		"/cluster/config/rollback", "/cluster/config/diff", "/cluster/config/apply", "/cluster/secrets/rotate", "/cluster/secrets/finish"}
	for i, body := range []string{`{"role":"node","ttl":"1h","uses":1}`, `{"on":true}`, `{}`, `{"node":"a"}`, `{"to":null}`,
		`{"version":1}`, `{"text":"a: 1","env":{"A":"b"}}`, ``, `{"new_kek":"0123456789abcdef"}`, `[`} {
		f.Add(i, []byte(body))
	}
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		if which < 0 {
			which = 0
		}
		w := newWorld(t)
		var req fasthttp.Request
		req.SetRequestURI("http://node" + paths[which%len(paths)])
		req.Header.SetMethod("POST")
		req.SetBody(body)
		var ctx fasthttp.RequestCtx
		ctx.Init(&req, nil, nil)
		ok, r := w.h.Handle(&ctx, &auth.Principal{Master: true, Role: auth.RoleAdmin})
		switch {
		case !ok:
			t.Fatal("the path is not known")
		case r != nil && r.Status != 400:
			t.Fatalf("refused with %d: %s", r.Status, r.Message)
		case r == nil && !slices.Contains([]int{200, 202, 422}, ctx.Response.StatusCode()):
			t.Fatalf("answered with %d", ctx.Response.StatusCode())
		case r == nil && !json.Valid(ctx.Response.Body()):
			t.Fatalf("answered with no JSON: %s", ctx.Response.Body())
		}
		asked := len(w.f.calls())
		if done := r == nil && ctx.Response.StatusCode() != 422; done != (asked == 1) {
			t.Fatalf("%d operations for status %d", asked, ctx.Response.StatusCode())
		}
	})
}
