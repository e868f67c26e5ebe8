// Package refusal is what a caller is told when the answer is no: status, type,
// parameter and message, in LiteLLM's words. Rooms make refusals; only the
// server writes them, in the caller's dialect.
package refusal

import (
	"strconv"
	"time"
)

// Refusal is one negative answer. Type and Param are shown as JSON null when
// they are empty; None asks for the literal "None" that LiteLLM's auth layer sends.
type Refusal struct {
	Status  int
	Type    string
	Param   string
	Code    string // "" means the status as text
	Message string
	Detail  bool // management routes that answer {"detail": …} instead
	Header  [][2]string
	// Provider is set when the failure is an upstream's, for the ledger.
	Class string
	// Liftable says that state newer than this node's could turn the answer:
	// the key made, the budget raised on another node a moment ago. Such a
	// refusal is given only when newer state has been asked for.
	Liftable bool
}

// None is the text that LiteLLM's auth layer sends for an unknown parameter.
const None = "None"

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// New makes a refusal; the type may be "" when it follows from the status.
func New(status int, typ, param, message string) *Refusal {
	return &Refusal{Status: status, Type: typ, Param: param, Message: message}
}

// CodeText is the code to show: LiteLLM's is always a string.
func (r *Refusal) CodeText() string {
	if r.Code != "" {
		return r.Code
	}
	return strconv.Itoa(r.Status)
}

// With adds a response header and returns r.
func (r *Refusal) With(name, value string) *Refusal {
	r.Header = append(r.Header, [2]string{name, value})
	return r
}

// WithCode sets the code that programs branch on and returns r.
func (r *Refusal) WithCode(code string) *Refusal {
	r.Code = code
	return r
}

// Lift marks a refusal that newer state could turn, and returns r.
func (r *Refusal) Lift() *Refusal {
	r.Liftable = true
	return r
}

// StateBehind is the answer when this node could not find out in time whether
// newer state would let the caller in.
func StateBehind() *Refusal {
	return Unavailable("state_behind", "This node could not make sure that it knows the newest keys and settings. Nothing was done; try again.", time.Second)
}

// Unavailable is a fault of ours: 503, when to try again, and a code that says
// which part is away. A valid key is never answered 401 for such a fault.
func Unavailable(code, message string, after time.Duration) *Refusal {
	secs := max(int((after+time.Second-1)/time.Second), 1)
	r := &Refusal{Status: 503, Type: "internal_server_error", Code: code, Message: message}
	return r.With("retry-after", strconv.Itoa(secs))
}

// TypeByStatus is the type of an error whose own type is unknown.
func TypeByStatus(status int) string {
	switch {
	case status == 401:
		return "authentication_error"
	case status == 403:
		return "permission_error"
	case status == 429:
		return "rate_limit_error"
	case status >= 500:
		return "internal_server_error"
	}
	return "invalid_request_error"
}
