package anthropic_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/provider"
)

func TestChatRequestsBecomeMessagesRequests(t *testing.T) {
	for name, tc := range map[string]struct{ model, in, want string }{
		"text only": {"claude-sonnet-4-5", `{"model":"claude","messages":[{"role":"user","content":"h\u00e9"}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hé"}]}]}`},
		"parameters": {"claude-sonnet-4-5", `{"model":"claude","messages":[{"role":"user","content":"x"}],"max_tokens":10,"max_completion_tokens":20,"temperature":1.7,"top_p":0.5,"top_k":3,"stop":["a"," \n","b"],"user":"u-1","service_tier":"default","seed":null,"n":1,"frequency_penalty":0,"stream_options":{"include_usage":true},"future_field":{"a":1.0}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":20,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stop_sequences":["a","b"],"temperature":1,"top_p":0.5,"top_k":3,"metadata":{"user_id":"u-1"},"service_tier":"standard_only","future_field":{"a":1.0}}`},
		"system in three places": {"claude-sonnet-4-5", `{"messages":[{"role":"system","content":"one"},{"role":"developer","content":[{"type":"text","text":"two","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":"q"},{"role":"system","content":"late"},{"role":"user","content":"r"}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"system":[{"type":"text","text":"one"},{"type":"text","text":"two","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"q"},{"type":"text","text":"<system>\nlate\n</system>"},{"type":"text","text":"r"}]}]}`},
		"images and files": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/jpg;base64,QUJD","detail":"high"}},{"type":"image_url","image_url":"https://x/y.png"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,UERG"}},{"type":"file","file":{"file_id":"file_1"}},{"type":"file","file":{"file_data":"data:text/plain;base64,aGk="},"prompt_cache_breakpoint":{"mode":"explicit"}}]}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"QUJD"}},{"type":"image","source":{"type":"url","url":"https://x/y.png"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"UERG"},"title":"a.pdf"},{"type":"document","source":{"type":"file","file_id":"file_1"}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"},"cache_control":{"type":"ephemeral"}}]}]}`},
		"tool loop with two calls": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"go"},{"role":"assistant","content":"","tool_calls":[{"id":"call|1","type":"function","function":{"name":"f","arguments":"{\"n\":12345678901234567890,\"a\":\"\\u00e9\"}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},{"role":"tool","tool_call_id":"call|1","content":"r1"},{"role":"tool","tool_call_id":"c2","content":""},{"role":"user","content":"and?"}],
			"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}}],"tool_choice":"required","parallel_tool_calls":false}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"f","input":{"n":12345678901234567890,"a":"\u00e9"}},{"type":"tool_use","id":"c2","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"r1"},{"type":"tool_result","tool_use_id":"c2"},{"type":"text","text":"and?"}]}],
			"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"n":{"type":"integer"}}}},{"name":"g","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`},
		"results with images and cache marks": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"go"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"null"}}]},{"role":"user","content":"early"},{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"t","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"image_url","image_url":{"url":"https://i"}}]}],"tools":[{"type":"function","function":{"name":"f"},"cache_control":{"type":"ephemeral"}}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"t"},{"type":"image","source":{"type":"url","url":"https://i"}}],"cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"early"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}]}`},
		"history with calls but no tools": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"go"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"r"}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"r"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"none"}}`},
		"old function calls": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"go"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}],"functions":[{"name":"f"}],"function_call":{"name":"f"}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"tool_use","id":"call_message_1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_message_1","content":"r"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"tool","name":"f"}}`},
		"allowed tools": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"go"}],"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}},{"type":"web_search_20250305","name":"web_search","max_uses":2}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"go"}]}],"tools":[{"name":"g","input_schema":{"type":"object","properties":{}}},{"type":"web_search_20250305","name":"web_search","max_uses":2}],"tool_choice":{"type":"any"}}`},
		"a model that cannot be forced": {"claude-opus-5-5", `{"messages":[{"role":"user","content":"go"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"}}}`,
			`{"model":"claude-opus-5-5","max_tokens":4096,"system":[{"type":"text","text":"You must answer by calling the tool \"f\"."}],"messages":[{"role":"user","content":[{"type":"text","text":"go"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto"}}`},
		"prefill and first turn": {"claude-sonnet-4-5", `{"messages":[{"role":"assistant","content":"I am "},{"role":"assistant","content":"here \n"}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"Please continue."}]},{"role":"assistant","content":[{"type":"text","text":"I am "},{"type":"text","text":"here"}]}]}`},
		"empty texts vanish": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"x"}]},{"role":"assistant","content":null},{"role":"user","content":" "}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`},
		"native schema": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"r","strict":true,"schema":{"type":"object","properties":{"minimum":{"type":"integer","minimum":3,"description":"d"},"s":{"oneOf":[{"type":"string","format":"email"},{"type":"object","properties":{}}]}},"required":["s"]}}}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"minimum":{"type":"integer","description":"d (minimum: 3)"},"s":{"anyOf":[{"type":"string","format":"email"},{"type":"object","properties":{},"additionalProperties":false}]}},"required":["s"],"additionalProperties":false}}}}`},
		"schema by forced tool": {"claude-3-5-haiku-20241022", `{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"r","schema":{"type":"object","properties":{"a":{"minimum":1}}}}}}`,
			`{"model":"claude-3-5-haiku-20241022","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{"name":"json_tool_call","description":"Give the answer in this form.","input_schema":{"type":"object","properties":{"a":{"minimum":1}}}}],"tool_choice":{"type":"tool","name":"json_tool_call"}}`},
		"schema beside tools": {"claude-3-5-haiku-20241022", `{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"response_format":{"type":"json_object","response_schema":{"type":"object"}}}`,
			`{"model":"claude-3-5-haiku-20241022","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}},{"name":"json_tool_call","description":"Give the answer in this form.","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}`},
		"json object": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"system":[{"type":"text","text":"Answer with one valid JSON object and nothing else: no prose, no code fences."}],"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`},
		"thoughts come back first and signed": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y","reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"thinking","thinking":"foreign","signature":""}]},{"role":"user","content":"z"},{"role":"assistant","content":"w","reasoning_details":[{"type":"thinking","text":"t","signature":"s2"},{"type":"redacted","data":"d2"}]},{"role":"user","content":"v"}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"y"}]},{"role":"user","content":[{"type":"text","text":"z"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s2"},{"type":"redacted_thinking","data":"d2"},{"type":"text","text":"w"}]},{"role":"user","content":[{"type":"text","text":"v"}]}]}`},
		"web search": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"}],"web_search_options":{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"city":"Bern"}}}}`,
			`{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":1,"user_location":{"city":"Bern","type":"approximate"}}]}`},
		"the provider's own fields": {"claude-sonnet-4-5", `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://d"},"citations":{"enabled":true}}]}],"thinking":{"type":"enabled","budget_tokens":2000},"max_tokens":3000,"system":"S","metadata":{"user_id":"m"},"container":"c","tools":[{"type":"custom","name":"n","input_schema":{"type":"object"}}]}`,
			`{"model":"claude-sonnet-4-5","max_tokens":3000,"system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://d"},"citations":{"enabled":true}}]}],"tools":[{"type":"custom","name":"n","input_schema":{"type":"object"}}],"thinking":{"type":"enabled","budget_tokens":2000},"metadata":{"user_id":"m"},"container":"c"}`},
	} {
		t.Run(name, func(t *testing.T) {
			sameJSON(t, tc.want, string(request(t, newCall(t, provider.OpChat, tc.model, tc.in)).Body))
		})
	}
}

// asked is what thinking tests look at.
type asked struct {
	MaxTokens    int64           `json:"max_tokens"`
	Thinking     json.RawMessage `json:"thinking"`
	OutputConfig json.RawMessage `json:"output_config"`
	Temperature  json.RawMessage `json:"temperature"`
	TopP         json.RawMessage `json:"top_p"`
	TopK         json.RawMessage `json:"top_k"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
}

func ask(t *testing.T, c *provider.Call) (asked, []string) {
	t.Helper()
	r := request(t, c)
	var a asked
	require.NoError(t, json.Unmarshal(r.Body, &a))
	return a, r.Dropped
}

func TestReasoningEffortBecomesWhatTheModelTakes(t *testing.T) {
	for _, tc := range []struct{ model, effort, thinking, config string }{
		{"claude-3-7-sonnet-latest", "low", `{"type":"enabled","budget_tokens":1024}`, ""},
		{"claude-sonnet-4-20250514", "medium", `{"type":"enabled","budget_tokens":2048}`, ""},
		{"claude-opus-4-1@20250805", "high", `{"type":"enabled","budget_tokens":4096}`, ""},
		{"anthropic/claude-sonnet-4.5", "minimal", `{"type":"enabled","budget_tokens":1024}`, ""},
		{"us.anthropic.claude-opus-4-6-v1:0", "xhigh", `{"type":"adaptive"}`, `{"effort":"high"}`},
		{"claude-opus-4-6", "max", `{"type":"adaptive"}`, `{"effort":"max"}`},
		{"claude-opus-4-8", "xhigh", `{"type":"adaptive","display":"summarized"}`, `{"effort":"xhigh"}`},
		{"claude-opus-7", "minimal", `{"type":"adaptive","display":"summarized"}`, `{"effort":"low"}`},
		{"claude-sonnet-4-5", "none", "", ""},
		{"claude-opus-5", "none", `{"type":"disabled"}`, ""},
		{"claude-sonnet-5-5", "none", `{"type":"between_tools"}`, ""},
		{"claude-fable-5", "none", "", `{"effort":"low"}`},
		{"some-other-model", "low", `{"type":"enabled","budget_tokens":1024}`, ""},
		{"claude-3-haiku-20240307", "low", "", ""},
	} {
		a, dropped := ask(t, newCall(t, provider.OpChat, tc.model, `{"messages":[{"role":"user","content":"x"}],"reasoning_effort":"`+tc.effort+`"}`))
		require.Equal(t, tc.thinking, string(a.Thinking), tc)
		require.Equal(t, tc.config, string(a.OutputConfig), tc)
		if tc.model == "claude-3-haiku-20240307" {
			require.Equal(t, []string{"reasoning_effort"}, dropped)
		} else {
			require.Empty(t, dropped)
		}
	}
}

func TestThinkingAlwaysFitsIntoMaxTokens(t *testing.T) {
	base := `{"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled","budget_tokens":8000}`
	for _, tc := range []struct {
		rest            string
		reserved, model int64
		max, budget     int64
	}{
		{"", 0, 0, 8000 + 4096, 8000},
		{"", 0, 64000, 64000, 8000},
		{`,"max_tokens":9000`, 0, 0, 9000, 8000},
		{`,"max_tokens":5000`, 0, 0, 5000, 4999},
		{`,"max_tokens":9000`, 3000, 64000, 3000, 2999},
		{`,"max_tokens":1000`, 0, 0, 1000, 0},
		{`,"max_tokens":90000`, 0, 32000, 32000, 8000},
	} {
		c := newCall(t, provider.OpChat, "claude-sonnet-4-5", base+tc.rest+"}")
		c.MaxOutput, c.Deployment.MaxOutput = tc.reserved, tc.model
		a, _ := ask(t, c)
		require.Equal(t, tc.max, a.MaxTokens, tc)
		var got struct {
			Budget int64 `json:"budget_tokens"`
		}
		if len(a.Thinking) > 0 {
			require.NoError(t, json.Unmarshal(a.Thinking, &got))
		}
		require.Equal(t, tc.budget, got.Budget, tc)
	}
}

func TestThinkingGivesWayToWhatItExcludes(t *testing.T) {
	tools := `"tools":[{"type":"function","function":{"name":"f"}}]`
	a, dropped := ask(t, newCall(t, provider.OpChat, "claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"}],`+tools+`,"tool_choice":"required","reasoning_effort":"low"}`))
	require.Empty(t, a.Thinking)
	require.Equal(t, []string{"reasoning_effort"}, dropped)

	loop := `{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"r"}`
	a, dropped = ask(t, newCall(t, provider.OpChat, "claude-sonnet-4-5", `{"messages":[`+loop+`],`+tools+`,"reasoning_effort":"low"}`))
	require.Empty(t, a.Thinking, "the loop's thinking was not kept")
	require.Equal(t, []string{"reasoning_effort"}, dropped)

	a, _ = ask(t, newCall(t, provider.OpChat, "claude-sonnet-4-5", `{"messages":[`+loop+`,{"role":"assistant","content":"done"},{"role":"user","content":"new"}],`+tools+`,"reasoning_effort":"low"}`))
	require.NotEmpty(t, a.Thinking, "a new question starts afresh")

	a, dropped = ask(t, newCall(t, provider.OpChat, "claude-sonnet-4-5", `{"messages":[{"role":"user","content":"x"}],"reasoning_effort":"low","temperature":0.2,"top_p":0.5,"top_k":4}`))
	require.Empty(t, string(a.Temperature)+string(a.TopP)+string(a.TopK))
	require.Equal(t, []string{"temperature", "top_p", "top_k"}, dropped)

	a, _ = ask(t, newCall(t, provider.OpChat, "claude-3-7-sonnet", `{"messages":[{"role":"user","content":"x"}],"reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}}}`))
	require.Equal(t, `{"type":"auto"}`, string(a.ToolChoice))
	require.NotEmpty(t, a.Thinking)
}

func TestSamplingIsLeftOutForModelsThatRefuseIt(t *testing.T) {
	a, dropped := ask(t, newCall(t, provider.OpChat, "claude-opus-4-7-20260401", `{"messages":[{"role":"user","content":"x"}],"temperature":0.2,"top_p":0.5,"top_k":4}`))
	require.Empty(t, string(a.Temperature)+string(a.TopP)+string(a.TopK))
	require.Equal(t, []string{"temperature", "top_p", "top_k"}, dropped)
	a, dropped = ask(t, newCall(t, provider.OpChat, "claude-opus-4-7", `{"messages":[{"role":"user","content":"x"}],"temperature":1.0,"top_p":1}`))
	require.Empty(t, string(a.Temperature))
	require.Empty(t, dropped, "what asks for the default is not missed")
}

func TestModelInfoOverridesTheTable(t *testing.T) {
	c := newCall(t, provider.OpChat, "claude-opus-9", `{"messages":[{"role":"user","content":"x"},{"role":"system","content":"s"},{"role":"user","content":"y"}],"temperature":0.2,"reasoning_effort":"max"}`)
	c.Deployment.Info = model.Params{"sampling": json.RawMessage(`"full"`), "thinking_modes": json.RawMessage(`["enabled","disabled"]`), "supports_system_mid_conversation": json.RawMessage("true")}
	r := request(t, c)
	sameJSON(t, `{"model":"claude-opus-9","max_tokens":20480,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"user","content":[{"type":"text","text":"y"}]}],"thinking":{"type":"enabled","budget_tokens":16384}}`, string(r.Body))
}

func TestUnsupportedParametersAreRefusedOrDropped(t *testing.T) {
	for name, value := range map[string]string{"n": "2", "seed": "7", "logprobs": "true", "frequency_penalty": "0.5", "logit_bias": `{"1":2}`, "modalities": `["audio"]`} {
		body := `{"messages":[{"role":"user","content":"x"}],"` + name + `":` + value + `}`
		e := refusal(t, newCall(t, provider.OpChat, "m", body))
		require.Equal(t, provider.UnsupportedParams, e.Class)
		require.Equal(t, 400, e.Status)
		require.Equal(t, name, e.Param)

		c := newCall(t, provider.OpChat, "m", body)
		c.DropParams = true
		r := request(t, c)
		require.Equal(t, []string{name}, r.Dropped)
		require.NotContains(t, string(r.Body), name+`"`)

		c = newCall(t, provider.OpChat, "m", body)
		c.Deployment.AllowParams = []string{name}
		require.Contains(t, string(request(t, c).Body), `"`+name+`":`+value)
	}
	c := newCall(t, provider.OpChat, "m", `{"messages":[{"role":"user","content":"x"}],"temperature":0.1,"store":true,"user":"a@b.example"}`)
	c.Deployment.DropAlso = []string{"temperature"}
	r := request(t, c)
	require.Equal(t, []string{"temperature", "store", "user"}, r.Dropped)
}

func TestClientMistakesAreNamed(t *testing.T) {
	call := `{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":`
	for body, param := range map[string]string{
		`{}`:                              "messages",
		`{"messages":"x"}`:                "messages",
		`{"messages":[{"role":"robot"}]}`: "messages[0].role",
		`{"messages":[7]}`:                "messages[0]",
		`{"messages":[{"role":"user","content":{}}]}`:                                                   "messages[0].content",
		`{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`:                             "messages[0].content[0]",
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"ftp://x"}}]}]}`: "messages[0].content[0]",
		`{"messages":[` + call + `"{"}}]}]}`:                                                            "messages[0].tool_calls[0].function.arguments",
		`{"messages":[` + call + `"[1]"}}]}]}`:                                                          "messages[0].tool_calls[0].function.arguments",
		`{"messages":[` + call + `"{}"}}]},{"role":"tool","tool_call_id":"b","content":"x"}]}`:          "messages[1].tool_call_id",
		`{"messages":[{"role":"tool","content":"x"}]}`:                                                  "messages[0].tool_call_id",
		`{"messages":[],"max_tokens":"many"}`:                                                           "max_tokens",
		`{"messages":[],"tools":{}}`:                                                                    "tools",
		`{"messages":[],"tools":[{"type":"custom","custom":{"name":"x"}}]}`:                             "tools[0]",
		`{"messages":[],"tool_choice":"maybe"}`:                                                         "tool_choice",
		`{"messages":[],"response_format":{"type":"xml"}}`:                                              "response_format",
		`{"messages":[],"reasoning_effort":"heroic"}`:                                                   "reasoning_effort",
		`{"messages":[],"stop":[1]}`:                                                                    "stop",
	} {
		e := refusal(t, newCall(t, provider.OpChat, "m", body))
		require.Equal(t, provider.BadRequest, e.Class, body)
		require.Equal(t, param, e.Param, body)
	}
}

func TestCompletionsAreOneUserTurn(t *testing.T) {
	for _, prompt := range []string{`"Say"`, `["Say"]`} {
		c := newCall(t, provider.OpCompletion, "claude-sonnet-4-5", `{"model":"claude","prompt":`+prompt+`,"max_tokens":5,"echo":false}`)
		sameJSON(t, `{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"Say"}]}]}`, string(request(t, c).Body))
	}
	for _, prompt := range []string{`["a","b"]`, `[1,2]`, `""`, `7`} {
		require.Equal(t, "prompt", refusal(t, newCall(t, provider.OpCompletion, "m", `{"prompt":`+prompt+`}`)).Param)
	}
	require.Equal(t, 400, refusal(t, newCall(t, provider.OpEmbedding, "m", `{"input":"x"}`)).Status)
}

func TestExtraBodyIsLaidOverTheRequest(t *testing.T) {
	c := newCall(t, provider.OpChat, "m", `{"messages":[{"role":"user","content":"x"}],"stream":true}`)
	c.Stream = true
	c.Deployment.ExtraBody = []state.Param{{Name: "speed", Value: []byte(`"fast"`)}, {Name: "max_tokens", Value: []byte("9")}}
	sameJSON(t, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stream":true,"speed":"fast"}`, string(request(t, c).Body))
}

func TestTheSameRequestGivesTheSameBytes(t *testing.T) {
	body := `{"messages":[{"role":"user","content":"x"}],"zeta":1,"alpha":2,"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}]}`
	first := string(request(t, newCall(t, provider.OpChat, "m", body)).Body)
	for range 20 {
		require.Equal(t, first, string(request(t, newCall(t, provider.OpChat, "m", body)).Body))
	}
}
