package admin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
	"tollgate/limiter/admit"
	"tollgate/proxy/admin"
	"tollgate/proxy/auth"
	"tollgate/proxy/refusal"
)

const master = "sk-master-1234"

// errDown stands for a cluster that cannot take a mutation.
var errDown = errors.New("no quorum")

// world is a node's management API over a real state machine and a real ledger,
// without a cluster between.
type world struct {
	t        testing.TB
	a        *admin.Admin
	store    *state.Store
	mu       sync.Mutex // guards what follows
	applier  *state.Applier
	index    uint64
	now      time.Time
	down     bool
	before   func(m *model.Mutation) // runs before a mutation is applied
	seen     []model.Mutation
	behind   []string
	revoked  []uint64 // indexes that were waited for on all nodes
	levels   []string // that Consistent was asked for
	newer    func(level string, minIndex uint64) (time.Duration, error)
	ledger   *store.Ledger
	counted  [][]admin.Spending // of all nodes, together
	away     []string           // nodes that do not answer
	spent    map[model.Scope]unit.Money
	others   map[model.Scope]unit.Money // spent on other nodes
	banked   map[model.Scope]unit.Money // of that, what budgets have counted
	windows  map[model.Scope]int64      // the newest that nodes know of
	lookedUp [][]model.Scope            // that nodes were asked about
	client   *fasthttp.HostClient
}

// books joins the ledger's queries with what counts against budgets.
type books struct {
	query.Query
	w *world
}

func (b books) Spent(sc model.Scope, since time.Time) unit.Money {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return b.w.spent[sc]
}

func (b books) Everywhere(_ context.Context, asked []admin.Spending) ([]unit.Money, []string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.counted = append(b.w.counted, asked)
	out := make([]unit.Money, len(asked))
	for i, q := range asked {
		out[i] = b.w.spent[q.Scope].Add(b.w.others[q.Scope])
	}
	return out, b.w.away
}

// Before tells of the ids that anything was spent under.
func (b books) Before(_ context.Context, scopes []model.Scope) ([]admin.Before, []string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.lookedUp = append(b.w.lookedUp, scopes)
	out := make([]admin.Before, len(scopes))
	for i, sc := range scopes {
		out[i] = admin.Before{Spent: b.w.spent[sc].Add(b.w.others[sc]), Counted: b.w.banked[sc], Window: -1}
		if at, ok := b.w.windows[sc]; ok {
			out[i].Window = at
		}
	}
	return out, b.w.away
}

// Look answers that half of every limit is left.
func (b books) Look(_ context.Context, limits []admit.RateState) {
	for i := range limits {
		limits[i].Remaining, limits[i].Reset = limits[i].Limit/2, 30*time.Second
	}
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) mutate(_ context.Context, m model.Mutation) (model.Result, error) {
	if hook := w.before; hook != nil {
		w.before = nil
		hook(&m)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return model.Result{}, errDown
	}
	if err := state.Check(&m); err != nil {
		return model.Result{}, err
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return model.Result{}, err
	}
	w.seen = append(w.seen, m)
	w.index++
	got := w.applier.Apply(w.index, w.now, state.MutationVersion, payload)
	w.applier.Publish()
	if r, ok := got.(model.Result); ok {
		return r, nil
	}
	return model.Result{}, got.(error)
}

func newWorld(t testing.TB, cfg *model.Config) *world {
	t.Helper()
	l, err := store.Open(store.Config{Dir: t.TempDir(), Ballast: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	w := &world{t: t, now: time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC), ledger: l, spent: map[model.Scope]unit.Money{}}
	w.store = state.NewStore(state.Compiler(state.CompileDeps{
		Book: price.Default(), Env: func(string) (string, bool) { return "", false },
		Providers: map[string]state.ProviderDefaults{"openai": {Base: "https://api.openai.com/v1"}, "anthropic": {Base: "https://api.anthropic.com"}},
	}))
	w.applier = state.NewApplier(w.store)
	w.a, err = admin.New(admin.Deps{
		State: w.store, Mutate: w.mutate,
		Unavailable: func(err error) *refusal.Refusal { return refusal.Unavailable("no_quorum", err.Error(), time.Second) },
		Revoked: func(_ context.Context, index uint64) []string {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.revoked = append(w.revoked, index)
			return w.behind
		},
		Consistent: w.consistent, SealAnswer: answerBox(t).seal, OpenAnswer: answerBox(t).open,
		Spend: books{query.NewEmbedded(l, nil), w}, Limits: books{nil, w},
		SealDeployment: func(d *model.Deployment) error {
			d.Params = maps.Clone(d.Params) // as one that resolves references does
			for name := range d.Params {
				if name == "api_key" {
					d.Params[name] = json.RawMessage(`"sealed:v1:abc"`)
				}
			}
			return nil
		},
		Regions:       func() []string { return []string{"eu", "us"} },
		MasterKeyHash: func() string { return auth.Hash([]byte(master)) },
		Clock:         unit.ClockFunc(w.Now), Logger: slog.New(slog.DiscardHandler), Rand: rand.Reader,
	})
	require.NoError(t, err)
	if cfg != nil {
		_, err := w.mutate(context.Background(), model.Mutation{Changes: []model.Change{
			model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: *cfg}, nil)}})
		require.NoError(t, err)
	}
	w.serve(t)
	return w
}

// serve runs the API behind an in-memory listener, with the steps that the
// server takes before and after.
func (w *world) serve(t testing.TB) {
	ln := fasthttputil.NewInmemoryListener()
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		if r := w.handle(ctx); r != nil {
			writeRefusal(ctx, r)
		}
	}}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	w.client = &fasthttp.HostClient{Addr: "node", Dial: func(string) (net.Conn, error) { return ln.Dial() }}
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		require.NoError(t, ln.Close())
		require.NoError(t, <-done)
	})
}

func (w *world) handle(ctx *fasthttp.RequestCtx) *refusal.Refusal {
	key, r := auth.Credential(&ctx.Request.Header, "")
	if r != nil {
		return r
	}
	p, r := auth.Identify(w.store.State(), auth.Hash([]byte(master)), key, w.Now(), false)
	if r != nil {
		return r
	}
	ok, r := w.a.Handle(ctx, &p)
	if !ok {
		return &refusal.Refusal{Status: 404, Message: "Not Found", Detail: true}
	}
	return r
}

func writeRefusal(ctx *fasthttp.RequestCtx, r *refusal.Refusal) {
	var body any = map[string]any{"error": map[string]any{"message": r.Message, "type": r.Type, "param": r.Param, "code": r.CodeText()}}
	if r.Detail {
		body = map[string]any{"detail": r.Message}
	}
	b, _ := json.Marshal(body)
	ctx.Response.SetStatusCode(r.Status)
	ctx.Response.SetBody(b)
	for _, h := range r.Header {
		ctx.Response.Header.Set(h[0], h[1])
	}
}

// answer is what a client got.
type answer struct {
	t      testing.TB
	status int
	body   []byte
	header map[string]string
}

// call sends one request as the holder of a key.
func (w *world) call(key, method, path, body string, headers ...string) *answer {
	w.t.Helper()
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://node" + path)
	req.Header.SetMethod(method)
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.SetBodyString(body)
	require.NoError(w.t, w.client.Do(req, resp))
	a := &answer{t: w.t, status: resp.StatusCode(), body: bytes.Clone(resp.Body()), header: map[string]string{}}
	for k, v := range resp.Header.All() {
		a.header[strings.ToLower(string(k))] = string(v)
	}
	return a
}

func (w *world) post(path, body string, headers ...string) *answer {
	w.t.Helper()
	return w.call(master, "POST", path, body, headers...)
}

func (w *world) get(path string) *answer {
	w.t.Helper()
	return w.call(master, "GET", path, "")
}

// ok requires success and gives the answer as an object.
func (a *answer) ok() map[string]any {
	a.t.Helper()
	require.Equal(a.t, 200, a.status, string(a.body))
	require.Equal(a.t, "application/json", a.header["content-type"])
	var m map[string]any
	require.NoError(a.t, json.Unmarshal(a.body, &m), string(a.body))
	return m
}

// list requires success and gives the answer as a list.
func (a *answer) list() []any {
	a.t.Helper()
	require.Equal(a.t, 200, a.status, string(a.body))
	var l []any
	require.NoError(a.t, json.Unmarshal(a.body, &l), string(a.body))
	return l
}

// refused requires a refusal of this status and gives its message.
func (a *answer) refused(status int) string {
	a.t.Helper()
	require.Equal(a.t, status, a.status, string(a.body))
	var m struct{ Error struct{ Message string } }
	require.NoError(a.t, json.Unmarshal(a.body, &m), string(a.body))
	return m.Error.Message
}

// wrong requires a 422 and gives the fields that it names.
func (a *answer) wrong() []string {
	a.t.Helper()
	require.Equal(a.t, 422, a.status, string(a.body))
	var m struct {
		Detail []struct {
			Loc       []string
			Msg, Type string
		}
	}
	require.NoError(a.t, json.Unmarshal(a.body, &m), string(a.body))
	var out []string
	for _, d := range m.Detail {
		require.NotEmpty(a.t, d.Msg)
		out = append(out, strings.Join(d.Loc[1:], ".")+":"+d.Type)
	}
	return out
}

// key makes a key and gives it and its hash.
func (w *world) key(body string) (plain, hash string) {
	w.t.Helper()
	m := w.post("/key/generate", body).ok()
	return m["key"].(string), m["token"].(string)
}

// as makes a user of a role with a key, and gives the key.
func (w *world) as(role, id string) string {
	w.t.Helper()
	return w.post("/user/new", `{"user_id":"`+id+`","user_role":"`+role+`"}`).ok()["key"].(string)
}

func (w *world) setSpent(sc model.Scope, m unit.Money) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent[sc] = m
}

// setElsewhere sets what other nodes have spent.
func (w *world) setElsewhere(sc model.Scope, m unit.Money) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.others == nil {
		w.others = map[model.Scope]unit.Money{}
	}
	w.others[sc] = m
}

// direct runs one request through Handle without a connection: for fuzzing.
func (w *world) direct(method, path string, body []byte) *fasthttp.RequestCtx {
	var req fasthttp.Request
	req.SetRequestURI("http://node" + path)
	req.Header.SetMethod(method)
	req.SetBody(body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, nil, nil)
	if ok, r := w.a.Handle(&ctx, &auth.Principal{Master: true, Role: auth.RoleAdmin}); !ok {
		ctx.SetStatusCode(404)
	} else if r != nil {
		writeRefusal(&ctx, r)
	}
	return &ctx
}

// another is a second node over the same state.
func (w *world) another(t testing.TB) *world {
	t.Helper()
	o := newWorld(t, nil)
	d := o.a.Deps
	d.State, d.Mutate = w.store, w.mutate
	a, err := admin.New(d)
	require.NoError(t, err)
	o.a, o.store = a, w.store
	return o
}

// follower is a second node with a state of its own, which comes to the first
// one's when it mutates or is made to follow.
func (w *world) follower(t testing.TB) (o *world, follow func()) {
	t.Helper()
	o = newWorld(t, nil)
	follow = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for ; o.index < w.index; o.index++ {
			payload, err := json.Marshal(w.seen[o.index])
			require.NoError(t, err)
			o.applier.Apply(o.index+1, w.now, state.MutationVersion, payload)
		}
		o.applier.Publish()
	}
	d := o.a.Deps
	d.Mutate = func(ctx context.Context, m model.Mutation) (model.Result, error) {
		r, err := w.mutate(ctx, m)
		follow()
		return r, err
	}
	a, err := admin.New(d)
	require.NoError(t, err)
	o.a = a
	return o, follow
}

func (w *world) consistent(_ context.Context, level string, minIndex uint64) (time.Duration, error) {
	w.mu.Lock()
	w.levels = append(w.levels, level+" "+strconv.FormatUint(minIndex, 10))
	f := w.newer
	w.mu.Unlock()
	if f == nil {
		return 0, nil
	}
	return f(level, minIndex)
}

// sealer seals answers as all nodes of the tests' cluster do.
type sealer struct{ box *secret.Box }

var sharedKey = sync.OnceValues(func() ([]byte, error) {
	kek, err := secret.KEKFromText("the tests' own")
	if err != nil {
		return nil, err
	}
	return secret.NewBox(kek).NewDataKey("tests")
})

func answerBox(t testing.TB) sealer {
	kek, err := secret.KEKFromText("the tests' own")
	require.NoError(t, err)
	wrapped, err := sharedKey()
	require.NoError(t, err)
	box := secret.NewBox(kek)
	_, err = box.Install("tests", wrapped)
	require.NoError(t, err)
	return sealer{box}
}

func (s sealer) seal(entity, plain string) (string, error) {
	return s.box.Seal(entity, "answer", plain)
}
func (s sealer) open(entity, sealed string) (string, error) {
	return s.box.Open(entity, "answer", sealed)
}
