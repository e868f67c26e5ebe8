package call_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/call"
)

func deployment(t *testing.T, id, group, info string) model.Deployment {
	t.Helper()
	d := model.Deployment{ID: id, Group: group, Params: model.Params{}, Info: model.Params{}}
	to := "openai/gpt-x"
	if group == "x/*" {
		to = "openai/*"
	}
	for name, v := range map[string]string{"model": to, "api_key": "sk-up", "api_base": "http://" + id + ".test/v1"} {
		d.Params[name], _ = json.Marshal(v)
	}
	require.NoError(t, json.Unmarshal([]byte(info), &d.Info))
	return d
}

// Each deployment is asked in its mode, with its model and within its time.
func TestProbesAreAsTheModelSays(t *testing.T) {
	w := newWorld(t, func(_ *state.Builder, cfg *model.Config) {
		cfg.Deployments = []model.Deployment{
			deployment(t, "chat", "a", `{}`),
			deployment(t, "completion", "b", `{"mode":"completion"}`),
			deployment(t, "embedding", "c", `{"mode":"embedding"}`),
			deployment(t, "other", "d", `{"health_check_model":"openai/gpt-small"}`),
			deployment(t, "picture", "e", `{"mode":"image_generation"}`),
			deployment(t, "slow", "f", `{"health_check_timeout":1}`),
			deployment(t, "wild", "x/*", `{"health_check_model":"x/gpt-tiny"}`),
			deployment(t, "unknown", "x/*", `{}`),
		}
	})
	type question struct{ path, model string }
	var mu sync.Mutex
	asked, slow := map[string]question{}, make(chan struct{})
	w.serve(func(w *world, host string, c net.Conn, req *http.Request, body []byte) {
		var b struct{ Model string }
		_ = json.Unmarshal(body, &b)
		mu.Lock()
		asked[host] = question{req.URL.Path, b.Model}
		mu.Unlock()
		switch {
		case host == "slow.test":
			close(slow)
			_, _ = io.Copy(io.Discard, c)
		case req.URL.Path == "/v1/embeddings":
			respond(c, 200, "", `{"object":"list","model":"x","data":[{"object":"embedding","index":0,"embedding":[1]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`)
		case req.URL.Path == "/v1/completions":
			respond(c, 200, "", `{"id":"1","object":"text_completion","model":"x","choices":[{"index":0,"text":"hi","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
		default:
			answers(w, host, c, req, body)
		}
	})
	found := map[string]call.Probed{}
	for _, p := range w.calls.Probe(context.Background(), w.state.State(), func(*state.Deployment) bool { return true }) {
		found[p.ID] = p
	}
	<-slow // it is asked, however late
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, found, 7, "a wildcard that names no model is not asked")
	require.Equal(t, map[string]question{
		"chat.test":       {"/v1/chat/completions", "gpt-x"},
		"completion.test": {"/v1/completions", "gpt-x"},
		"embedding.test":  {"/v1/embeddings", "gpt-x"},
		"other.test":      {"/v1/chat/completions", "gpt-small"},
		"slow.test":       {"/v1/chat/completions", "gpt-x"},
		"wild.test":       {"/v1/chat/completions", "gpt-tiny"},
	}, asked)
	for id, p := range found {
		require.Equal(t, id != "slow" && id != "picture", p.Fault == "", "%s: %s", id, p.Fault)
	}
	require.Contains(t, found["picture"].Fault, "cannot be called in this release")
	require.Less(t, found["slow"].Took, 20*time.Second, "not the minute that others have")
	require.Empty(t, w.entries(), "nobody is billed")

	report := call.ProbeReport([]call.Probed{found["chat"], found["picture"]}, false)
	require.Equal(t, []map[string]any{{"model": "openai/gpt-x"}}, report["healthy_endpoints"])
	require.Equal(t, 1, report["unhealthy_count"])
	require.Len(t, report["unhealthy_endpoints"].([]map[string]any)[0], 2)
}
