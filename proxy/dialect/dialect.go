// Package dialect writes errors the way a caller's own SDK reads them: OpenAI's
// envelope or Anthropic's, whole or inside a stream.
package dialect

import (
	"strings"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/refusal"
)

// Dialect is a family of client SDKs.
type Dialect uint8

// The dialects.
const (
	OpenAI Dialect = iota
	Anthropic
)

// OfPath is the dialect that the callers of a route speak.
func OfPath(path string) Dialect {
	if path == "/v1/messages" || path == "/messages" || strings.HasPrefix(path, "/v1/messages/") || strings.HasPrefix(path, "/messages/") {
		return Anthropic
	}
	return OpenAI
}

// AppendError appends the error body. compatOld gives LiteLLM's older forms,
// with the text "None" where nothing is known.
func (d Dialect) AppendError(dst []byte, r *refusal.Refusal, requestID string, compatOld bool) []byte {
	switch {
	case r.Detail:
		dst = append(dst, `{"detail":`...)
		dst = jsonscan.AppendQuoted(dst, r.Message)
		return append(dst, '}')
	case d == Anthropic:
		return appendAnthropic(dst, r, requestID)
	}
	return openai.FromRefusal(r).Append(dst, compatOld)
}

// AppendStreamError appends the frame that ends a stream whose status has been
// sent already.
func (d Dialect) AppendStreamError(dst []byte, r *refusal.Refusal, requestID string) []byte {
	if d == Anthropic {
		dst = append(dst, "event: error\n"...)
	}
	dst = append(dst, "data: "...)
	dst = d.AppendError(dst, r, requestID, false)
	return append(dst, "\n\n"...)
}

// anthropicType is Anthropic's error type for a status.
func anthropicType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 409:
		return "conflict_error"
	case 413:
		return "request_too_large"
	case 408, 504:
		return "timeout_error"
	case 429:
		return "rate_limit_error"
	case 503, 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func appendAnthropic(dst []byte, r *refusal.Refusal, requestID string) []byte {
	dst = append(dst, `{"type":"error","error":{"type":"`...)
	dst = append(dst, anthropicType(r.Status)...)
	dst = append(dst, `","message":`...)
	dst = jsonscan.AppendQuoted(dst, r.Message)
	dst = append(dst, `},"request_id":`...)
	dst = jsonscan.AppendQuoted(dst, requestID)
	return append(dst, '}')
}
