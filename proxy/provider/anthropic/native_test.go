package anthropic_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/state"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/anthropic"
)

const nativeBody = `{ "messages":[{"role":"user","content":"h\u0069"}],  "max_tokens" : 500,"model":"claude","future":{"z":1,"a":1.0e2},
 "thinking":{"type":"enabled","budget_tokens":400}}`

func TestMessagesRequestKeepsEveryByteButTheModel(t *testing.T) {
	c := newCall(t, provider.OpMessages, "claude-sonnet-4-5", nativeBody)
	r := request(t, c)
	require.Equal(t, strings.Replace(nativeBody, `"claude"`, `"claude-sonnet-4-5"`, 1), string(r.Body))
	require.Equal(t, "https://api.anthropic.com/v1/messages", r.URL)
	require.Equal(t, "POST", r.Method)
	require.Equal(t, "sk-ant-api03-x", header(r, "x-api-key"))
	require.Equal(t, "2023-06-01", header(r, "anthropic-version"))
}

func TestMessagesRequestIsHeldToTheReservation(t *testing.T) {
	c := newCall(t, provider.OpMessages, "m", nativeBody)
	c.MaxOutput = 200
	c.Deployment.ExtraBody = []state.Param{{Name: "speed", Value: []byte(`"fast"`)}}
	sameJSON(t, `{"messages":[{"role":"user","content":"hi"}],"max_tokens":200,"model":"m","future":{"z":1,"a":1.0e2},"speed":"fast"}`, string(request(t, c).Body))

	c = newCall(t, provider.OpMessages, "m", strings.Replace(strings.Replace(nativeBody, "500", "5000", 1), "400", "4000", 1))
	c.MaxOutput = 2000
	require.Contains(t, string(request(t, c).Body), `"budget_tokens":1999`)

	c = newCall(t, provider.OpMessages, "m", nativeBody)
	c.MaxOutput = 9000
	require.Contains(t, string(request(t, c).Body), `"max_tokens" : 500`)
}

func TestClientVersionAndBetasReachTheProvider(t *testing.T) {
	c := newCall(t, provider.OpMessages, "m", nativeBody)
	c.Header = func(name string) string {
		return map[string]string{"anthropic-version": "2026-10-21", "anthropic-beta": "a-1,b-2"}[name]
	}
	c.Deployment.ExtraHeaders = map[string]string{"Anthropic-Beta": "b-2, c-3", "X-Team": "t"}
	r := request(t, c)
	require.Equal(t, "2026-10-21", header(r, "anthropic-version"))
	require.Equal(t, "a-1,b-2,c-3", header(r, "anthropic-beta"))
	require.Equal(t, "t", header(r, "x-team"))

	c.Op = provider.OpChat
	require.Equal(t, "2023-06-01", header(request(t, c), "anthropic-version"), "a translated body is of the version we write")
}

func TestOAuthTokensTravelAsBearer(t *testing.T) {
	c := newCall(t, provider.OpMessages, "m", nativeBody)
	c.Deployment.APIKey = "sk-ant-oat01-zzz"
	r := request(t, c)
	require.Equal(t, "Bearer sk-ant-oat01-zzz", header(r, "authorization"))
	require.Empty(t, header(r, "x-api-key"))
	require.Equal(t, "oauth-2025-04-20", header(r, "anthropic-beta"))
}

func TestBasesWithAndWithoutVersion(t *testing.T) {
	for base, want := range map[string]string{
		"":                                      "https://api.anthropic.com/v1/messages",
		"https://h":                             "https://h/v1/messages",
		"https://h/":                            "https://h/v1/messages",
		"https://h/v1":                          "https://h/v1/messages",
		"https://h/v1/":                         "https://h/v1/messages",
		"https://h/anthropic/v1/messages":       "https://h/anthropic/v1/messages",
		"http://127.0.0.1:8080/gateway/path/v1": "http://127.0.0.1:8080/gateway/path/v1/messages",
	} {
		c := newCall(t, provider.OpMessages, "m", nativeBody)
		c.Deployment.APIBase = base
		require.Equal(t, want, request(t, c).URL)
	}
}

func TestMessagesAnswerKeepsEveryByteButTheModel(t *testing.T) {
	body := `{"id":"msg_9", "type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"h\u0069","new":1e3}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}`
	a, err := anthropic.New().Answer(newCall(t, provider.OpMessages, "m", nativeBody), nil, []byte(body))
	require.NoError(t, err)
	require.Equal(t, strings.Replace(body, `"claude-x"`, `"claude"`, 1), string(a.Body))
	require.Equal(t, "msg_9", a.ID)
	require.Equal(t, "claude-x", a.Model)
	require.Equal(t, "stop", a.FinishReason)
	require.Equal(t, int64(3), a.Usage.InUncached)
	require.Equal(t, int64(4), a.Usage.OutTotal)
	require.Equal(t, `{"input_tokens":3,"output_tokens":4}`, string(a.RawUsage))
}

func TestMessagesStreamPassesEventsByteTrue(t *testing.T) {
	in := events(msgStart, ping, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"h\u0069"}`), blockStop("0"),
		`{"type":"later_event","x":1.0}`, msgDelta("end_turn", "5"), msgStop)
	newC := func() *provider.Call {
		c := newCall(t, provider.OpMessages, "m", nativeBody)
		c.Stream = true
		return c
	}
	out, s, err := everyWay(t, newC, in)
	require.NoError(t, err)
	require.Equal(t, strings.Replace(in, `"claude-sonnet-4-5-20250929"`, `"claude"`, 1), out)
	require.Equal(t, int64(5), s.Info().Usage.OutTotal)
	require.Equal(t, int64(20), s.Info().Usage.CacheRead)
	require.Equal(t, int64(2), s.Info().OutputBytes)
	require.Equal(t, "claude-sonnet-4-5-20250929", s.Info().Model)
}

func TestEventsWithoutANameGetOne(t *testing.T) {
	in := strings.ReplaceAll(events(msgStart, msgDelta("end_turn", "5"), msgStop), "event: ", ": ")
	c := newCall(t, provider.OpMessages, "m", nativeBody)
	out, _, err := run(c, strings.NewReader(in))
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(out, "event: message_"))
}

func TestTheEndMarkerWaitsForEnd(t *testing.T) {
	s := anthropic.New().Stream(newCall(t, provider.OpMessages, "m", nativeBody))
	var got sink
	for _, d := range []string{msgStart, msgDelta("end_turn", "5"), msgStop} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	require.True(t, s.Info().Done)
	require.NotContains(t, got.String(), "message_stop")
	require.NoError(t, s.End(&got))
	require.True(t, strings.HasSuffix(got.String(), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
}

func TestCutClosesTheOpenBlockAndTheMessage(t *testing.T) {
	s := anthropic.New().Stream(newCall(t, provider.OpMessages, "m", nativeBody))
	var got sink
	for _, d := range []string{msgStart, blockStart("0", `{"type":"text","text":""}`), blockDelta("0", `{"type":"text_delta","text":"0123456789"}`)} {
		require.NoError(t, s.Event("", []byte(d), &got))
	}
	before := got.Len()
	s.Cut("length", &got)
	require.Equal(t, events(`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"output_tokens":3}}`,
		msgStop), got.String()[before:])
	require.NoError(t, s.End(&got))
}
