package anthropic

import (
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
)

// Overloaded is the status by which this API says that it has no room.
const Overloaded = 529

// ErrorType is the API's error type of a status.
func ErrorType(status int) string {
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
	case 429:
		return "rate_limit_error"
	case 408, 504:
		return "timeout_error"
	case 503, Overloaded:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// UpstreamStatus is the status that a provider's failure has in this dialect:
// 529 where the provider was overloaded, the class's otherwise.
func UpstreamStatus(e *provider.Error) int {
	if e.Upstream == Overloaded || e.Type == "overloaded_error" {
		return Overloaded
	}
	return e.Status
}

// AppendError appends the API's error object. Its type follows from the status.
func AppendError(dst []byte, status int, message, requestID string) []byte {
	dst = append(dst, `{"type":"error","error":{"type":"`...)
	dst = append(dst, ErrorType(status)...)
	dst = append(jsonscan.AppendText(append(dst, '"'), "message", message), '}')
	if requestID != "" {
		dst = jsonscan.AppendText(dst, "request_id", requestID)
	}
	return append(dst, '}')
}

// AppendErrorEvent appends the error as the event that ends a stream.
func AppendErrorEvent(dst []byte, status int, message, requestID string) []byte {
	return stream.AppendEvent(dst, "error", AppendError(nil, status, message, requestID))
}
