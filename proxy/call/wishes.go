package call

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/route"
)

// wishes are what a request says of its own way past failures. Lists that are
// not nil stand in place of the configuration's.
type wishes struct {
	fallbacks        []route.Fallback
	contextFallbacks []route.Fallback
	contentFallbacks []route.Fallback
	noFallback       bool
	numRetries       int // -1: not stated

	// The flags that let operators rehearse: the first three fail the call before
	// any provider is asked, the fourth fails each attempt, the last lets each
	// attempt run into its time limit.
	mockFallbacks bool
	mockContext   bool
	mockContent   bool
	mockRateLimit bool
	mockTimeout   bool

	// The raw fallback lists, read once the model's name is known: the fields of a
	// request come in any order.
	rawFallbacks, rawContext, rawContent []byte
}

// wish takes a field that is about retries and fallbacks.
func (w *wishes) wish(key, raw []byte) {
	switch string(key) {
	case "fallbacks":
		w.rawFallbacks = raw
	case "context_window_fallbacks", "context_window_fallback_dict":
		w.rawContext = raw
	case "content_policy_fallbacks":
		w.rawContent = raw
	case "disable_fallbacks":
		w.noFallback, _ = jsonscan.Bool(raw)
	case "num_retries":
		if v, ok := jsonscan.Int(raw); ok && v >= 0 && v <= maxClientRetries {
			w.numRetries = int(v)
		}
	case "mock_testing_fallbacks":
		w.mockFallbacks, _ = jsonscan.Bool(raw)
	case "mock_testing_context_fallbacks", "mock_testing_context_window_fallbacks":
		if v, _ := jsonscan.Bool(raw); v {
			w.mockContext = true
		}
	case "mock_testing_content_policy_fallbacks":
		w.mockContent, _ = jsonscan.Bool(raw)
	case "mock_testing_rate_limit_error":
		w.mockRateLimit, _ = jsonscan.Bool(raw)
	case "mock_timeout":
		w.mockTimeout, _ = jsonscan.Bool(raw)
	}
}

// Bounds of what a client may ask for: a call must end, and each fallback is
// looked up and may cost a call.
const (
	maxClientRetries   = 10
	maxClientFallbacks = 32
)

// settle reads the fallback lists for the model asked for.
func (w *wishes) settle(group string) {
	w.fallbacks = ownFallbacks(w.rawFallbacks, group)
	w.contextFallbacks = ownFallbacks(w.rawContext, group)
	w.contentFallbacks = ownFallbacks(w.rawContent, group)
}

// ownFallbacks reads a request's list: names, maps with a model whose other
// fields overwrite the request's, or maps of groups to lists, of which that of
// the group counts. nil: the request has no such list. One that says nothing of
// the group still stands in place of the configuration's, as in LiteLLM.
func ownFallbacks(raw []byte, group string) []route.Fallback {
	if len(raw) == 0 {
		return nil
	}
	l := fallbackList{}
	switch raw[0] {
	case '"', '{':
		l.add(raw, group)
	case '[':
		it := jsonscan.Walk(raw)
		for v, ok := it.Element(); ok; v, ok = it.Element() {
			l.add(v, group)
		}
	default:
		return nil
	}
	return l
}

// fallbackList is a list being read.
type fallbackList []route.Fallback

func (l *fallbackList) add(v []byte, group string) {
	if s, ok := jsonscan.String(v); ok {
		l.put(route.Fallback{Name: s})
		return
	}
	if len(v) == 0 || v[0] != '{' {
		return
	}
	if s, ok := jsonscan.String(jsonscan.Member(v, "model")); ok {
		l.put(route.Fallback{Name: s, Fields: overwriting(v)})
		return
	}
	// A map of groups. As in the configuration, "*" is for those without an entry.
	list := jsonscan.Member(v, group)
	if list == nil {
		list = jsonscan.Member(v, "*")
	}
	if s, ok := jsonscan.String(list); ok {
		l.put(route.Fallback{Name: s})
		return
	}
	it := jsonscan.Walk(list)
	for e, ok := it.Element(); ok; e, ok = it.Element() {
		switch name, isName := jsonscan.String(jsonscan.Member(e, "model")); {
		case e[0] == '"':
			l.add(e, "")
		case isName:
			l.put(route.Fallback{Name: name, Fields: overwriting(e)})
		}
	}
}

func (l *fallbackList) put(f route.Fallback) {
	if f.Name != "" && len(*l) < maxClientFallbacks {
		*l = append(*l, f)
	}
}

// overwriting is the object itself when it has a field beside the model's name.
func overwriting(v []byte) []byte {
	it := jsonscan.Walk(v)
	for k, _, ok := it.Member(); ok; k, _, ok = it.Member() {
		if string(jsonscan.Name(k)) != "model" {
			return v
		}
	}
	return nil
}
