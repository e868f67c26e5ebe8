package query

import (
	"errors"
	"strings"
)

// PartialError comes with an answer that may lack something, and says what.
type PartialError struct {
	// Missing are the books that did not answer.
	Missing []string
	// Copies are books that another node answered for from its copy: what came
	// after the last copied entry is not in the answer.
	Copies []string
	// Instead says that the ledgers answered because the database could not.
	Instead bool
	Err     error
}

// Error names the books.
func (e *PartialError) Error() string {
	var parts []string
	if len(e.Missing) > 0 {
		parts = append(parts, "no answer from "+strings.Join(e.Missing, ", "))
	}
	if len(e.Copies) > 0 {
		parts = append(parts, "answered from the copy of "+strings.Join(e.Copies, ", "))
	}
	if e.Instead {
		parts = append(parts, "the ledgers answered in the database's place")
	}
	text := strings.Join(parts, "; ")
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the reasons.
func (e *PartialError) Unwrap() error { return e.Err }

// failed tells an answer that is not there from one that lacks something.
func failed(err error) bool {
	var partial *PartialError
	return err != nil && !errors.As(err, &partial)
}

// ErrAway is the answer of a book that cannot be asked at the moment.
var ErrAway = errors.New("is not reachable")

// asker reports whether an error is the question's fault: it would be the same
// anywhere and at any time.
func asker(err error) bool {
	return errors.Is(err, ErrNotKept) || errors.Is(err, ErrCursor) || errors.Is(err, ErrTooMany)
}
