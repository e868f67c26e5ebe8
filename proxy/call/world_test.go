package call_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

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
	"tollgate/proxy/cache"
	"tollgate/proxy/call"
	"tollgate/proxy/provider/registry"
	"tollgate/proxy/refusal"
	"tollgate/proxy/route"
	"tollgate/proxy/server"
	"tollgate/proxy/upstream"
)

// The server's worker pool looks every ten seconds whether it has been stopped.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const (
	master = "sk-master-1234"
	theKey = "sk-caller-0001"
)

// conf is one group "m" on the fake provider, one "spare" behind it, one that
// answers by itself and one without a price.
const conf = `
model_list:
  - model_name: m
    litellm_params: {model: openai/gpt-x, api_key: sk-up, api_base: "http://first.test/v1", input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
    model_info: {id: first, max_output_tokens: 1000}
  - model_name: spare
    litellm_params: {model: openai/gpt-y, api_key: sk-up, api_base: "http://second.test/v1", input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
    model_info: {id: second, max_output_tokens: 1000}
  - model_name: mocked
    litellm_params: {model: openai/gpt-z, api_key: sk-up, mock_response: "hello", input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
  - model_name: unpriced
    litellm_params: {model: openai/nobody-knows-this, api_key: sk-up, api_base: "http://first.test/v1"}
router_settings: {num_retries: 0}
`

// world is one node's proxy path over a real ledger, limiter and budget account,
// with providers that live on the loopback.
type world struct {
	t       *testing.T
	ledger  *store.Ledger
	account *budget.Account
	rates   *rate.Limiter
	calls   *call.Handler
	cache   *cache.Cache
	metrics *prometheus.Registry
	state   *state.Store
	addr    string
	server  *server.Server
	stop    func()       // begins the server's end and waits for it
	asked   atomic.Int64 // requests that providers have read

	mu       sync.Mutex // guards what follows
	provider func(w *world, host string, c net.Conn, req *http.Request, body []byte)
	catchUp  func(keyHash string) (moved bool, err error)

	notice, drainFor time.Duration // set by options
	health           route.Health
}

type option func(b *state.Builder, cfg *model.Config)

// newWorldBesideOthers is a node whose clients have others to go to.
func newWorldBesideOthers(t *testing.T, notice, drain time.Duration, options ...option) *world {
	t.Helper()
	return openWorld(t, &world{t: t, notice: notice, drainFor: drain}, options...)
}

func (w *world) noticeOf() time.Duration { return w.notice }

func withKey(change func(k *model.Key)) option {
	return func(b *state.Builder, _ *model.Config) {
		k := &model.Key{Hash: auth.Hash([]byte(theKey)), Name: "sk-...0001"}
		k.CreatedAt = time.Now()
		change(k)
		b.Put(k)
	}
}

func withConfig(change func(cfg *model.Config)) option {
	return func(_ *state.Builder, cfg *model.Config) { change(cfg) }
}

func withBudget(m unit.Money) option {
	return withKey(func(k *model.Key) { k.MaxBudget = &m })
}

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	return openWorld(t, &world{t: t}, options...)
}

func openWorld(t *testing.T, w *world, options ...option) *world {
	t.Helper()
	loaded, err := file.Parse("config.yaml", []byte(conf), func(string) (string, bool) { return "", false }, nil)
	require.NoError(t, err)
	w.state = state.NewStore(state.Compiler(state.CompileDeps{Book: price.Default(), Providers: registry.Defaults(),
		Env: func(string) (string, bool) { return "", false }}))
	b := state.NewBuilder(w.state.State())
	withKey(func(*model.Key) {})(b, loaded.Config)
	for _, o := range options {
		o(b, loaded.Config)
	}
	b.Put(&model.ConfigVersion{Number: 1, Config: *loaded.Config})
	w.state.Publish(b.Snapshot())
	require.NotNil(t, w.state.State().Routing)

	w.ledger, err = store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	bank := budget.NewBank(func(sc model.Scope) (model.BudgetDef, bool) { return w.state.State().BudgetOf(sc) }, nil)
	var one sync.Mutex
	w.account, err = budget.NewAccount(budget.Config{Node: "a", Incarnation: w.ledger.Incarnation(), WaitMax: 3 * time.Second, // a slow machine is no silent bank

		Propose: func(_ context.Context, p []byte) (*budget.Answer, error) {
			one.Lock()
			defer one.Unlock()
			a := bank.Apply(1, time.Now(), budget.Version, p).(*budget.Answer)
			return a, a.Err
		},
		Look: func(sc model.Scope) (budget.View, bool) { return bank.Look(sc, "a", w.ledger.Incarnation()) }})
	require.NoError(t, err)
	require.NoError(t, w.account.Start(t.Context(), budget.Recovery{}))
	w.rates = rate.New(rate.Config{})
	reg := prometheus.NewRegistry()
	w.metrics = reg
	client := upstream.New(upstream.Config{Dial: w.dial})
	w.cache = cache.New(cache.Config{Region: "here", Registerer: reg})
	require.NoError(t, w.cache.Use(loaded.Config.Cache))
	w.calls = call.New(call.Deps{State: w.state, Cache: w.cache, Admit: admit.New(w.rates, w.account), Ledger: w.ledger, Upstream: client,
		Providers: registry.New(nil).Find, Metrics: call.NewMetrics(reg, func() int64 { return w.calls.InFlight() }),
		Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Region: "here", Health: w.health, Version: "test"})
	w.server = server.New(server.Deps{State: w.state, MasterHash: func() string { return auth.Hash([]byte(master)) }, Calls: w.calls,
		Management: nothing{}, Readiness: nothing{}, CatchUp: w.newer, Notice: w.noticeOf, Gatherer: reg, Clock: unit.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.account.Run(ctx) })
	running.Go(func() { _ = w.cache.Run(ctx) })
	serving, halt := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		limit := time.Second
		if w.noticeOf() > 0 {
			limit = w.drainFor
		}
		_ = w.server.Run(serving, ln, limit)
	})
	w.stop = func() { halt(); served.Wait() }
	t.Cleanup(func() {
		w.stop()
		cancel()
		running.Wait()
		client.Close()
		require.NoError(t, w.ledger.Close())
	})
	return w
}

type nothing struct{}

func (nothing) Handle(*fasthttp.RequestCtx, *auth.Principal) (bool, *refusal.Refusal) {
	return false, nil
}
func (nothing) Methods(string) []string { return nil }
func (nothing) Ready() error            { return nil }
func (nothing) Facts() map[string]any   { return map[string]any{} }

// dial gives a connection to the provider of an address, served until it ends.
func (w *world) dial(_ context.Context, _, addr string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		br := bufio.NewReader(theirs)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			w.asked.Add(1)
			w.mu.Lock()
			f := w.provider
			w.mu.Unlock()
			if f == nil {
				return
			}
			f(w, strings.TrimSuffix(addr, ":80"), theirs, req, body)
			if req.Close {
				return
			}
		}
	}()
	return ours, nil
}

// newer stands for the cluster that is asked for newer state.
func (w *world) newer(_ context.Context, keyHash string) (bool, error) {
	w.mu.Lock()
	f := w.catchUp
	w.mu.Unlock()
	if f == nil {
		return false, nil
	}
	return f(keyHash)
}

// serve sets what the providers do from now on.
func (w *world) serve(f func(w *world, host string, c net.Conn, req *http.Request, body []byte)) {
	w.mu.Lock()
	w.provider = f
	w.mu.Unlock()
}

const wholeAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}`

func respond(c io.Writer, status int, header, body string) {
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(body), body)
}

func answers(_ *world, _ string, c net.Conn, _ *http.Request, body []byte) {
	if bytes.Contains(body, []byte(`"stream":true`)) {
		beginStream(c)
		for range 5 {
			chunk(c, delta("word "))
		}
		endStream(c)
		return
	}
	respond(c, 200, "", wholeAnswer)
}

func beginStream(c io.Writer) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
}

func chunk(c io.Writer, data string) error {
	_, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(data), data)
	return err
}

func delta(text string) string {
	q, _ := json.Marshal(text)
	return `data: {"id":"chatcmpl-2","object":"chat.completion.chunk","created":1,"model":"gpt-x","choices":[{"index":0,"delta":{"content":` + string(q) + `},"finish_reason":null}]}` + "\n\n"
}

func endStream(c io.Writer) {
	_ = chunk(c, `data: {"id":"chatcmpl-2","object":"chat.completion.chunk","created":1,"model":"gpt-x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
	_ = chunk(c, `data: {"id":"chatcmpl-2","object":"chat.completion.chunk","created":1,"model":"gpt-x","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}`+"\n\n")
	_ = chunk(c, "data: [DONE]\n\n")
	_, _ = io.WriteString(c, "0\r\n\r\n")
}

const ask = `{"model":"m","messages":[{"role":"user","content":"hello there"}]%s}`

func body(model, more string) string {
	if more != "" {
		more = "," + more
	}
	return strings.Replace(fmt.Sprintf(ask, more), `"m"`, `"`+model+`"`, 1)
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// post sends one chat call and reads all of its answer.
func (w *world) post(text string, header ...string) reply {
	w.t.Helper()
	return w.postTo("/v1/chat/completions", text, header...)
}

func (w *world) postTo(path, text string, header ...string) reply {
	w.t.Helper()
	return w.send(http.MethodPost, path, text, header...)
}

func (w *world) getFrom(path string) reply {
	w.t.Helper()
	return w.send(http.MethodGet, path, "")
}

func (w *world) send(method, path, text string, header ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.addr+path, strings.NewReader(text))
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+theKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), err}
}

// entries are all rows of the ledger.
func (w *world) entries() []*store.Entry {
	w.t.Helper()
	var out []*store.Entry
	for e, err := range w.ledger.Entries(0) {
		require.NoError(w.t, err)
		out = append(out, e)
	}
	return out
}

// quiet waits until nothing runs and checks that nothing is held any more.
func (w *world) quiet() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.calls.InFlight() == 0 }, 5*time.Second, time.Millisecond, "calls still in flight")
	require.Zero(w.t, w.account.Reserved(keyScope()), "money is still reserved")
	require.Zero(w.t, w.ledger.Stats().Open, "an intent is still open")
	left, _ := w.rates.State(w.rates.ID(keyScope(), rate.Parallel), rate.Parallel, 3)
	require.Equal(w.t, int64(3), left, "a parallel slot is still taken")
}

func keyScope() model.Scope { return model.Scope{Dim: model.DimKey, ID: auth.Hash([]byte(theKey))} }

// only gives the one row there must be.
func (w *world) only() *store.Entry {
	w.t.Helper()
	w.quiet()
	all := w.entries()
	require.Len(w.t, all, 1, "one call, one row")
	return all[0]
}
