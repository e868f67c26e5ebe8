package call

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFramesOfAStreamAddUpToTheWholeAnswer(t *testing.T) {
	for name, c := range map[string]struct{ frames, want string }{
		"chat": {
			"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n" +
				": comment\n\n" +
				"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\\u00e9\"}},{\"index\":1,\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\n" +
				"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\n\n" +
				"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n" +
				"data: [DONE]\n\n",
			`{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Héllo"},"finish_reason":"stop"},
			  {"index":1,"message":{"role":null,"content":"x"},"finish_reason":null}],"usage":{"total_tokens":3}}`,
		},
		"tools": {
			"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n" +
				"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"q\\\":1}\"}}]}}]}\n\n",
			`{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,
			  "tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"q\":1}"}}]},"finish_reason":null}],"usage":null}`,
		},
		"text completion": {
			"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n",
			`{"id":"c1","model":"m","choices":[{"index":0,"text":"ab","finish_reason":"length"}],"usage":null}`,
		},
		"message": {
			"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"model\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n" +
				"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
				"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n" +
				"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n" +
				"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"q\\\":1}\"}}\n\n" +
				"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}\n\n",
			`{"id":"m1","model":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hi"},
			  {"type":"tool_use","id":"t","name":"f","input":{"q":1}}],"stop_reason":"tool_use","usage":{"output_tokens":2}}`,
		},
		"a message cut inside tool input": {
			"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"model\":\"m\"}}\n\n" +
				"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n" +
				"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"partial_json\":\"{\\\"q\\\"\"}}\n\n",
			`{"id":"m1","model":"m","type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":"{\"q\""}],"stop_reason":null,"usage":null}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := transcript([]byte(c.frames))
			require.True(t, json.Valid(got), "%s", got)
			require.JSONEq(t, c.want, string(got))
		})
	}
	require.Nil(t, transcript(nil))
	require.Nil(t, transcript([]byte("data: [DONE]\n\n")))
}
