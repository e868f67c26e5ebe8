package openai

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// maxMessage is how much of a provider's text a client is shown.
const maxMessage = 4000

// Error classifies a failed answer by its status and what its body says.
func (p *Provider) Error(c *provider.Call, status int, header func(string) string, body []byte) *provider.Error {
	e := readError(body)
	e.classify(status)
	out := e.result(status)
	if header != nil {
		out.RetryAfter = retryAfter(header, c.Now)
	}
	return out
}

// said is what an error body tells, whatever its form.
type said struct {
	message, typ, code, param string
	status                    int // a status stated inside the body
	class                     provider.Class
	permanent                 bool
}

// readError finds message, type, code and param in the shapes that servers of
// this family answer with.
func readError(body []byte) said {
	body = bytes.TrimSpace(body)
	var o jsonscan.Object
	if len(body) > 0 && body[0] == '[' { // a list with one error object in it
		it := jsonscan.Walk(body)
		if first, ok := it.Element(); ok && o.ParseTop(first) == nil {
			body = first
		}
	}
	if o.ParseTop(body) != nil {
		return said{message: plainText(body)}
	}
	if raw, ok := o.Get("error"); ok && !jsonscan.IsNull(raw) {
		if text, isText := jsonscan.String(raw); isText {
			s := said{message: text}
			s.fields(body)
			return s
		}
		if raw[0] == '{' {
			var s said
			s.fields(raw)
			if s.message == "" {
				s.message = string(raw)
			}
			return s
		}
	}
	var s said
	s.fields(body)
	if detail, ok := o.Get("detail"); ok && s.message == "" {
		s.message = textOf(detail)
	}
	if s.message == "" {
		s.message = string(body)
	}
	return s
}

func (s *said) fields(obj []byte) {
	for it := jsonscan.Walk(obj); ; {
		k, v, ok := it.Member()
		if !ok {
			return
		}
		switch string(k) {
		case `"message"`:
			if s.message == "" {
				s.message = textOf(v)
			}
		case `"type"`:
			s.typ, _ = jsonscan.String(v)
		case `"param"`:
			s.param, _ = jsonscan.String(v)
		case `"code"`, `"status_code"`:
			if text, isText := jsonscan.String(v); isText {
				s.code = text
			} else if n, isInt := jsonscan.Int(v); isInt {
				s.code = strconv.FormatInt(n, 10)
			}
			if n, err := strconv.Atoi(s.code); err == nil && n >= 400 && n < 600 {
				s.status = n
			}
		}
	}
}

func textOf(raw []byte) string {
	if text, ok := jsonscan.String(raw); ok {
		return text
	}
	if jsonscan.IsNull(raw) {
		return ""
	}
	return string(raw)
}

// plainText is what may be shown of a body that is not JSON.
func plainText(body []byte) string {
	if len(body) == 0 {
		return "the provider sent no explanation"
	}
	if body[0] == '<' || bytes.Contains(body[:min(len(body), 512)], []byte("<html")) {
		return "the provider sent an HTML page instead of an answer"
	}
	return string(body)
}

// LiteLLM's marks of the two kinds of 400 that fallbacks depend on.
var (
	contextMarks = []string{"exceed context limit", "this model's maximum context length is", "model's maximum context limit",
		"is longer than the model's context length", "input tokens exceed the configured limit", "`inputs` tokens + `max_new_tokens` must be",
		"exceeds the available context size", "exceeds the maximum number of tokens allowed", "string too long. expected a string with maximum length",
		"prompt is too long", "input is too long", "too many input tokens", "exceeds the context window", "maximum context length"}
	contextPairs = [][2]string{{"current length is", "while limit is"}, {"maximum input length is", "tokens"}}
	policyMarks  = []string{"responsibleaipolicyviolation", "content_filter", "triggering azure openai's content management",
		"rejected as a result of the safety system", "content filtering policy", "content_policy_violation"}
	policyPairs = [][2]string{{"invalid prompt", "violating our usage policy"}}
	rateMarks   = []string{"rate limit", "rate_limit", "rate-limit", "service tier capacity exceeded", "request too large"}
	quotaCodes  = []string{"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
)

func marked(text string, marks []string, pairs [][2]string) bool {
	for _, m := range marks {
		if strings.Contains(text, m) {
			return true
		}
	}
	for _, p := range pairs {
		if strings.Contains(text, p[0]) && strings.Contains(text, p[1]) {
			return true
		}
	}
	return false
}

func oneOf(s string, list []string) bool {
	for _, v := range list {
		if s == v {
			return true
		}
	}
	return false
}

// classify settles the class from the status, the codes and the words.
func (s *said) classify(status int) {
	text := strings.ToLower(s.message)
	quota := oneOf(s.code, quotaCodes) || oneOf(s.typ, quotaCodes)
	switch {
	case quota || status == 402:
		s.class, s.permanent = provider.RateLimit, true
	case status == 429 || status == 498:
		s.class = provider.RateLimit
	case status == 400 || status == 413 || status == 422:
		s.class = clientMistake(s, status, text)
	case status == 401:
		s.class = provider.Authentication
	case status == 403:
		s.class = provider.PermissionDenied
	case status == 404:
		s.class = provider.NotFound
	case status == 408 || status == 504:
		s.class = provider.Timeout
	case status == 409:
		s.class = provider.Conflict
	case status == 502 || status == 424:
		s.class = provider.BadGateway
	case status == 503:
		s.class = provider.ServiceUnavailable
	case status >= 500:
		s.class = provider.InternalServer
	case status >= 400:
		s.class = provider.BadRequest
	default:
		s.class = provider.APIError
	}
}

func clientMistake(s *said, status int, text string) provider.Class {
	switch {
	case s.code == "context_length_exceeded", s.code != "string_above_max_length" && !strings.Contains(text, "invalid 'user'") && marked(text, contextMarks, contextPairs):
		return provider.ContextWindow
	case s.code == "content_filter", s.code == "content_policy_violation", marked(text, policyMarks, policyPairs):
		return provider.ContentPolicy
	case s.code == "model_not_found":
		return provider.NotFound
	case marked(text, rateMarks, nil):
		return provider.RateLimit
	case status == 422:
		return provider.UnprocessableEntity
	case s.code == "unsupported_parameter":
		return provider.UnsupportedParams
	}
	return provider.BadRequest
}

// statusOf guesses a status for an error that came inside a 200 answer.
func (s *said) statusOf() int {
	if s.status != 0 {
		return s.status
	}
	for _, word := range [...]string{s.code, s.typ} {
		switch {
		case word == "":
		case strings.Contains(word, "rate_limit"), oneOf(word, quotaCodes), word == "slow_down", strings.Contains(word, "too_many_requests"):
			return 429
		case strings.Contains(word, "overloaded"), strings.Contains(word, "unavailable"), word == "insufficient_system_resource":
			return 503
		case strings.Contains(word, "authentication"), word == "invalid_api_key":
			return 401
		case strings.Contains(word, "permission"):
			return 403
		case strings.Contains(word, "not_found"):
			return 404
		case strings.Contains(word, "timeout"):
			return 408
		case strings.Contains(word, "server_error"), strings.Contains(word, "internal"):
			return 500
		case word == "context_length_exceeded", strings.Contains(word, "content_filter"), strings.Contains(word, "content_policy"),
			strings.Contains(word, "invalid_request"), strings.EqualFold(word, "BadRequestError"):
			return 400
		}
	}
	return 0
}

// result makes the error; upstream 0 means that no status told of it.
func (s *said) result(upstream int) *provider.Error {
	out := provider.NewError(s.class, clean(s.message))
	out.Upstream, out.Type, out.Code, out.Param, out.Permanent = upstream, s.typ, s.code, s.param, s.permanent
	return out
}

// inside makes the error that was reported within an answer or a stream that
// began as 200.
func inside(body []byte) *provider.Error {
	s := readError(body)
	status := s.statusOf()
	s.classify(status)
	out := s.result(200)
	return out
}

// clean shortens a provider's text and hides what looks like a key in it.
func clean(text string) string {
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	for from := 0; ; {
		i := strings.Index(text[from:], "sk-")
		if i < 0 {
			return text
		}
		i += from + len("sk-")
		end := i
		for end < len(text) && keyByte(text[end]) {
			end++
		}
		if end-i >= 8 {
			text = text[:i] + "***" + text[end:]
			end = i + 3
		}
		from = end
	}
}

func keyByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '_' || c == '*'
}

// retryAfter reads how long the provider asks to wait; 0 when it does not say.
func retryAfter(header func(string) string, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(header("retry-after-ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := strings.TrimSpace(header("retry-after"))
	if v == "" {
		return 0
	}
	if secs, err := strconv.ParseFloat(v, 64); err == nil {
		if secs > 0 && secs < 1e7 {
			return time.Duration(secs * float64(time.Second))
		}
		return 0
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
