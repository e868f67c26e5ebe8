package provider

import "time"

// Class is LiteLLM's name for a kind of upstream failure; routing, cooldowns
// and the client's error all follow from it.
type Class string

// The classes (server.md's catalogue of upstream failures).
const (
	BadRequest          Class = "BadRequestError"
	ContextWindow       Class = "ContextWindowExceededError"
	ContentPolicy       Class = "ContentPolicyViolationError"
	UnsupportedParams   Class = "UnsupportedParamsError"
	Authentication      Class = "AuthenticationError"
	PermissionDenied    Class = "PermissionDeniedError"
	NotFound            Class = "NotFoundError"
	Timeout             Class = "Timeout"
	Conflict            Class = "ConflictError"
	UnprocessableEntity Class = "UnprocessableEntityError"
	RateLimit           Class = "RateLimitError"
	InternalServer      Class = "InternalServerError"
	BadGateway          Class = "BadGatewayError"
	ServiceUnavailable  Class = "ServiceUnavailableError"
	APIConnection       Class = "APIConnectionError"
	APIError            Class = "APIError"
)

// Error is one upstream failure, or a client's mistake found while translating.
type Error struct {
	Class      Class
	Status     int    // status for the client, per class
	Upstream   int    // status the provider sent; 0 when it sent none
	Message    string // for the client: the provider's text, cleaned
	Type       string // the provider's own error type, "" unknown
	Code       string // the provider's own error code, "" unknown
	Param      string
	RetryAfter time.Duration // 0: not stated
	// Permanent marks quota and spend stops that waiting does not cure.
	Permanent bool
}

// Error is the provider's message.
func (e *Error) Error() string { return string(e.Class) + ": " + e.Message }

// Status of each class as the client sees it.
var classStatus = map[Class]int{
	BadRequest: 400, ContextWindow: 400, ContentPolicy: 400, UnsupportedParams: 400,
	Authentication: 401, PermissionDenied: 403, NotFound: 404, Timeout: 408, Conflict: 409,
	UnprocessableEntity: 422, RateLimit: 429, InternalServer: 500, BadGateway: 502,
	ServiceUnavailable: 503, APIConnection: 500, APIError: 500,
}

// NewError makes an Error with its class's status.
func NewError(c Class, message string) *Error {
	return &Error{Class: c, Status: classStatus[c], Message: message}
}
