package call_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/limiter/budget"
	"tollgate/limiter/rate"
	"tollgate/proxy/auth"
	"tollgate/proxy/call"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/registry"
)

// FuzzRequestBody gives any bytes as the body of every kind of call. The answer
// comes from a fixed text, so a body that is taken goes the whole way.
func FuzzRequestBody(f *testing.F) {
	env := func(string) (string, bool) { return "", false }
	loaded, err := file.Parse("config.yaml", []byte(conf), env, nil)
	require.NoError(f, err)
	st := state.NewStore(state.Compiler(state.CompileDeps{Book: price.Default(), Providers: registry.Defaults(), Env: env}))
	k := &model.Key{Hash: auth.Hash([]byte(theKey)), Aliases: map[string]string{"m": "mocked", "spare": "mocked", "unpriced": "mocked"}}
	st.Publish(state.NewBuilder(st.State()).Put(k, &model.ConfigVersion{Number: 1, Config: *loaded.Config}).Snapshot())
	ledger, err := store.Open(store.Config{Dir: f.TempDir(), Ballast: -1, Sync: store.SyncNone})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, ledger.Close()) })
	account, err := budget.NewAccount(budget.Config{Node: "a", Incarnation: 1,
		Propose: func(context.Context, []byte) (*budget.Answer, error) { return &budget.Answer{}, nil },
		Look:    func(model.Scope) (budget.View, bool) { return budget.View{}, false }})
	require.NoError(f, err)
	calls := call.New(call.Deps{State: st, Admit: admit.New(rate.New(rate.Config{}), account), Ledger: ledger,
		Providers: registry.New(nil).Find, Metrics: call.NewMetrics(prometheus.NewRegistry(), func() int64 { return 0 }),
		Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	p, ref := auth.OfKey(st.State(), k)
	require.Nil(f, ref)

	for _, s := range []string{
		body("mocked", ""), body("mocked", `"stream":true,"stream_options":{"include_usage":true}`), body("mocked", `"max_tokens":1,"n":3,"tags":["a"],"user":"u"`),
		body("mocked", `"metadata":{"tags":["x"],"spend_logs_metadata":{}},"fallbacks":[{"m":["spare"]},"x",{"model":"y"}]`),
		body("mocked", `"extra_headers":{"x-a":"b"},"timeout":"1.5","num_retries":1`),
		`{"model":"mocked","prompt":["a","b"],"input":"c","max_tokens":5}`, `{"model":"mocked","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`,
		`{"model":"mocked","max_tokens":9e99,"messages":[]}`, `{"model":"mocked","model":"m","messages":[]}`, `[]`, ``, `{`, "\xff", `{"model":"\ud800"}`,
	} {
		for op := range uint8(4) {
			f.Add([]byte(s), op, "")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, op uint8, header string) {
		var ctx fasthttp.RequestCtx
		var req fasthttp.Request
		req.Header.SetMethod("POST")
		req.Header.Set("x-litellm-tags", header)
		req.Header.Set("x-litellm-call-id", header)
		req.Header.Set("x-litellm-spend-logs-metadata", header)
		req.SetBody(text)
		ctx.Init(&req, nil, nil)
		before := ledger.LastSeq()
		ref := calls.Serve(&ctx, call.Incoming{Op: provider.Op(op%4 + 1), Start: time.Now(), Snapshot: st.State(), Principal: p, Body: ctx.PostBody()})
		if ref != nil {
			if ref.Status < 400 || ref.Status > 599 || ref.Message == "" {
				t.Fatalf("refused with %d %q", ref.Status, ref.Message)
			}
		} else {
			answer := ctx.Response.Body() // reads and closes a stream
			if !ctx.Response.IsBodyStream() && len(answer) > 0 && answer[0] == '{' && !json.Valid(answer) {
				t.Fatalf("an answer that is no JSON: %q", answer)
			}
			if ledger.LastSeq() != before+1 && before != 0 {
				t.Fatalf("%d rows for one answer", ledger.LastSeq()-before)
			}
		}
		if n := calls.InFlight(); n != 0 {
			t.Fatalf("%d calls in flight", n)
		}
		if n := ledger.Stats().Open; n != 0 {
			t.Fatalf("%d intents open", n)
		}
	})
}
