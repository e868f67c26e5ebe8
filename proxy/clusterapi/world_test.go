package clusterapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
	"tollgate/proxy/clusterapi"
	"tollgate/proxy/refusal"
)

var errAway = errors.New("no quorum")

// fake is a cluster that notes what it is asked, and fails with err.
type fake struct {
	mu     sync.Mutex
	asked  []string
	err    error
	config *model.ConfigVersion
	// rotate and backup stand for the operations that stream.
	rotate func(progress func(string)) error
	backup func(ctx context.Context, w io.Writer) error
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fake) Members(context.Context) ([]clusterapi.Member, error) {
	return []clusterapi.Member{{ID: "01A", Name: "node-1", Role: "node", Raft: "leader", State: "alive"}}, f.note("members")
}
func (f *fake) Status(context.Context) (clusterapi.Status, error) {
	return clusterapi.Status{ClusterID: "01C", NodeID: "01A", Name: "node-1", Quorum: true}, f.note("status")
}
func (f *fake) CreateToken(_ context.Context, role string, ttl time.Duration, uses int, by string) (string, clusterapi.TokenInfo, error) {
	return "tgj1-secret", clusterapi.TokenInfo{ID: "t1", Role: role, Uses: uses, By: by}, f.note("token %s %s %d by %s", role, ttl, uses, by)
}
func (f *fake) Tokens(context.Context) ([]clusterapi.TokenInfo, error) {
	return nil, f.note("tokens")
}
func (f *fake) RevokeToken(_ context.Context, id string) error { return f.note("revoke %s", id) }
func (f *fake) Drain(_ context.Context, on bool) error         { return f.note("drain %v", on) }
func (f *fake) Leave(context.Context) error                    { return f.note("leave") }
func (f *fake) Forget(_ context.Context, node string) error    { return f.note("forget %s", node) }
func (f *fake) TransferLeadership(_ context.Context, to string) (string, error) {
	return "node-2", f.note("transfer %q", to)
}
func (f *fake) Config(context.Context) (*model.ConfigVersion, error) {
	return f.config, f.note("config")
}
func (f *fake) ConfigVersion(_ context.Context, n uint64) (*model.ConfigVersion, error) {
	return f.config, f.note("config %d", n)
}
func (f *fake) ConfigHistory(context.Context) ([]clusterapi.ConfigInfo, error) {
	return []clusterapi.ConfigInfo{{Number: 2, Active: true}, {Number: 1}}, f.note("history")
}
func (f *fake) ConfigRollback(_ context.Context, n uint64, by string) (clusterapi.ConfigInfo, error) {
	return clusterapi.ConfigInfo{Number: 9}, f.note("rollback %d by %s", n, by)
}
func (f *fake) ConfigDiff(_ context.Context, text []byte, env map[string]string) (clusterapi.ConfigDiff, error) {
	return clusterapi.ConfigDiff{Same: true}, f.note("diff %s %v", text, env)
}
func (f *fake) ConfigApply(_ context.Context, text []byte, env map[string]string, by string) (clusterapi.ConfigInfo, bool, error) {
	return clusterapi.ConfigInfo{Number: 4}, true, f.note("apply %v %s %v by %s", text == nil, text, env, by)
}
func (f *fake) RotateSecrets(_ context.Context, kek string) (clusterapi.Rotation, error) {
	return clusterapi.Rotation{Current: "ab"}, f.note("rotate %s", kek)
}
func (f *fake) FinishRotation(context.Context) (clusterapi.Rotation, error) {
	return clusterapi.Rotation{Current: "ab"}, f.note("finish")
}
func (f *fake) Rotation(context.Context) (clusterapi.Rotation, error) {
	return clusterapi.Rotation{Current: "ab", Pending: []string{"node-2"}}, f.note("rotation")
}
func (f *fake) RotateGossipKey(_ context.Context, progress func(string)) error {
	if f.rotate != nil {
		return f.rotate(progress)
	}
	return f.note("gossip")
}
func (f *fake) StartImport(_ context.Context, from, by string) (clusterapi.Import, error) {
	return clusterapi.Import{State: clusterapi.ImportRunning, From: "host/db"}, f.note("import %s by %s", from, by)
}
func (f *fake) Import(context.Context) (clusterapi.Import, error) {
	return clusterapi.Import{State: clusterapi.ImportNone, Node: "node-1"}, f.note("importing")
}
func (f *fake) Backup(ctx context.Context, w io.Writer) error {
	if f.backup != nil {
		return f.backup(ctx, w)
	}
	return f.note("backup")
}

var _ clusterapi.Cluster = (*fake)(nil)

// world is the operators' API over a fake cluster, behind a listener in memory.
type world struct {
	t      testing.TB
	f      *fake
	h      *clusterapi.Handler
	log    bytes.Buffer
	client *fasthttp.HostClient
}

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, f: &fake{}}
	store := state.NewStore(nil)
	var err error
	w.h, err = clusterapi.New(clusterapi.Deps{
		Cluster: w.f, State: store, Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		Clock:       unit.ClockFunc(func() time.Time { return noon }),
		Unavailable: func(err error) *refusal.Refusal { return refusal.Unavailable("no_quorum", err.Error(), time.Second) },
	})
	require.NoError(t, err)
	ln := fasthttputil.NewInmemoryListener()
	srv := &fasthttp.Server{Handler: w.serve}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	w.client = &fasthttp.HostClient{Addr: "node", StreamResponseBody: true, Dial: func(string) (net.Conn, error) { return ln.Dial() }}
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		require.NoError(t, ln.Close())
		require.NoError(t, <-done)
	})
	return w
}

// serve takes the role from the key, as "proxy_admin"; "master" is the master key.
func (w *world) serve(ctx *fasthttp.RequestCtx) {
	role := string(ctx.Request.Header.Peek("X-Api-Key"))
	p := &auth.Principal{Role: role, Key: &model.Key{Hash: "hash", UserID: "ada"}}
	if role == "master" {
		p = &auth.Principal{Master: true, Role: auth.RoleAdmin}
	}
	ok, r := w.h.Handle(ctx, p)
	if !ok {
		r = &refusal.Refusal{Status: 404, Message: "Not Found", Detail: true}
	}
	if r == nil {
		return
	}
	body, _ := json.Marshal(map[string]any{"message": r.Message, "type": r.Type, "code": r.CodeText()})
	ctx.SetStatusCode(r.Status)
	ctx.SetBody(body)
	for _, h := range r.Header {
		ctx.Response.Header.Set(h[0], h[1])
	}
}

// answer is what a client got; err is how reading the body ended.
type answer struct {
	status int
	header func(string) string
	body   string
	err    error
}

func (w *world) call(role, method, path, body string) answer {
	w.t.Helper()
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	req.SetRequestURI("http://node" + path)
	req.Header.SetMethod(method)
	req.Header.Set("X-Api-Key", role)
	req.SetBodyString(body)
	require.NoError(w.t, w.client.Do(req, resp))
	a := answer{status: resp.StatusCode()}
	headers := map[string]string{}
	for k, v := range resp.Header.All() {
		headers[string(k)] = string(v)
	}
	a.header = func(name string) string { return headers[name] }
	var raw []byte
	raw, a.err = io.ReadAll(resp.BodyStream())
	a.body = string(raw)
	require.NoError(w.t, resp.CloseBodyStream())
	fasthttp.ReleaseResponse(resp)
	return a
}

func (w *world) message(a answer) (message, code string) {
	w.t.Helper()
	var m struct{ Message, Code string }
	require.NoError(w.t, json.Unmarshal([]byte(a.body), &m), a.body)
	return m.Message, m.Code
}
