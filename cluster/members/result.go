package members

import "fmt"

// Error is a refusal as an error, for callers that only pass it on.
type Error struct {
	Code    Code
	Message string
}

// Error is the sentence.
func (e *Error) Error() string { return e.Message }

// Err is the refusal as an error, nil when the command was taken.
func (r Result) Err() error {
	if r.Refused == "" {
		return nil
	}
	return &Error{Code: r.Refused, Message: r.Message}
}

func (r Result) at(index uint64) Result {
	r.Index = index
	return r
}

func refuse(code Code, format string, args ...any) Result {
	return Result{Refused: code, Message: fmt.Sprintf(format, args...)}
}

// took answers with a copy of the node as stored.
func took(n *Node) Result {
	c := *n
	return Result{Node: &c}
}
