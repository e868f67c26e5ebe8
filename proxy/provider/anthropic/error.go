package anthropic

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
)

// maxErrorText is how much of a body that is no error object a client may see.
const maxErrorText = 500

// Error classifies a failed answer.
func (*Provider) Error(c *provider.Call, status int, header func(string) string, body []byte) *provider.Error {
	e := classify(status, body)
	wait, stated := retryAfter(c.Now, header)
	e.RetryAfter = wait
	if status == http.StatusTooManyRequests && !stated && anthropicItself(c) {
		// Anthropic states a time whenever waiting helps. Servers that only
		// speak its language do not, so this says nothing about theirs.
		e.Permanent = true
	}
	return e
}

func anthropicItself(c *provider.Call) bool {
	base := deployment(c).APIBase
	return base == "" || strings.HasPrefix(strings.TrimPrefix(base, "https://"), "api.anthropic.com")
}

// classify reads status and body; status 0 means that only the body tells,
// as in a stream.
func classify(status int, body []byte) *provider.Error {
	kind, message, code := errorObject(body)
	upstream := status
	if status == 0 {
		status = statusOf(kind)
		upstream = status
	}
	if message == "" {
		message = plainText(status, body)
	}
	e := provider.NewError(classOf(status, kind, message), message)
	e.Upstream, e.Type, e.Code = upstream, kind, code
	switch {
	case status == http.StatusRequestEntityTooLarge && e.Class == provider.BadRequest:
		e.Status = status
	case e.Class == provider.ContextWindow && code == "":
		e.Code = "context_length_exceeded"
	case e.Class == provider.ContentPolicy && code == "":
		e.Code = "content_policy_violation"
	}
	e.Permanent = spendStop(kind, code, message)
	return e
}

// errorObject reads {"type":"error","error":{…}}, and OpenAI's form, which
// some servers with this API answer.
func errorObject(body []byte) (kind, message, code string) {
	var o jsonscan.Object
	if o.ParseTop(body) != nil {
		return "", "", ""
	}
	raw, _ := o.Get("error")
	if jsonscan.IsString(raw) {
		message, _ = jsonscan.String(raw)
		return "", message, ""
	}
	if !jsonscan.IsObject(raw) {
		raw = body
	}
	kind, message = jsonscan.Text(raw, "type"), jsonscan.Text(raw, "message")
	if kind == "error" {
		kind = ""
	}
	code = orElse(jsonscan.Text(jsonscan.Member(raw, "details"), "error_code"), jsonscan.Text(raw, "code"))
	return kind, message, code
}

// plainText is what a client may see of a body that is no error object: short
// text, never a page.
func plainText(status int, body []byte) string {
	s := strings.TrimSpace(string(body[:min(len(body), maxErrorText)]))
	if s == "" || s[0] == '<' || s[0] == '{' || s[0] == '[' {
		return "the provider answered status " + strconv.Itoa(status) + " without a readable error"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func statusOf(kind string) int {
	switch kind {
	case "invalid_request_error":
		return 400
	case "authentication_error":
		return 401
	case "billing_error":
		return 402
	case "permission_error":
		return 403
	case "not_found_error":
		return 404
	case "conflict_error":
		return 409
	case "request_too_large":
		return 413
	case "rate_limit_error":
		return 429
	case "timeout_error":
		return 504
	case "overloaded_error":
		return 529
	}
	return 500
}

func classOf(status int, kind, message string) provider.Class {
	lower := strings.ToLower(message)
	switch status {
	case 400, 413, 422:
		switch {
		case tooLong(lower):
			return provider.ContextWindow
		case strings.Contains(lower, "content filtering policy"), strings.Contains(lower, "content_policy_violation"):
			return provider.ContentPolicy
		case kind == "billing_error" || spendText(lower):
			return provider.RateLimit
		case status == 422:
			return provider.UnprocessableEntity
		}
		return provider.BadRequest
	case 401:
		return provider.Authentication
	case 402:
		return provider.RateLimit
	case 403:
		return provider.PermissionDenied
	case 404:
		return provider.NotFound
	case 408, 504:
		return provider.Timeout
	case 409:
		return provider.Conflict
	case 429:
		return provider.RateLimit
	case 502, 520, 521, 522, 523, 524:
		return provider.BadGateway
	case 503:
		return provider.ServiceUnavailable
	}
	switch {
	case status >= 500: // 529, overloaded, too: to be tried again
		return provider.InternalServer
	case status >= 400:
		return provider.BadRequest
	}
	return provider.APIError
}

// tooLong knows the ways to say that the prompt does not fit.
func tooLong(lower string) bool {
	for _, s := range [...]string{"prompt is too long", "exceed context limit", "exceeds the context window", "maximum context length",
		"maximum context limit", "is longer than the model's context length", "input is too long", "too many input tokens",
		"exceeds the maximum number of tokens allowed", "exceeds the available context size"} {
		if strings.Contains(lower, s) {
			return true
		}
	}
	return false
}

func spendStop(kind, code, message string) bool {
	switch code {
	case "enforced_spend_limit_reached", "contract_spend_limit_reached", "insufficient_quota", "credit_balance_exhausted":
		return true
	}
	return kind == "billing_error" || spendText(strings.ToLower(message))
}

// spendText knows the organisation's own spend stops, which the API answers
// with 400 and a sentence.
func spendText(lower string) bool {
	return strings.Contains(lower, "credit balance is too low") || strings.Contains(lower, "specified api usage limits") ||
		strings.Contains(lower, "spend limit")
}

// retryAfter reads retry-after in milliseconds, seconds or as a date.
func retryAfter(now time.Time, header func(string) string) (wait time.Duration, stated bool) {
	if header == nil {
		return 0, false
	}
	if ms, err := strconv.ParseFloat(header("retry-after-ms"), 64); err == nil && ms >= 0 && ms < 1e10 {
		return time.Duration(ms * float64(time.Millisecond)), true
	}
	v := header("retry-after")
	if v == "" {
		return 0, false
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 && s < 1e7 {
		return time.Duration(s * float64(time.Second)), true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}
