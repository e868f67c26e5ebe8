package store

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Attempt is one deployment that a call was tried on. An entry has them only
// when there was more than one, or when the one stood elsewhere than it should:
// of the usual call the entry itself says all.
type Attempt struct {
	Group    string // the model name under which the deployment was found
	ModelID  string // deployment id
	Model    string // sent upstream, provider prefix added
	Provider string
	Region   string // the deployment's, when it states one
	Reason   string // why it was tried; "": the first choice
	Class    string // of the error that it ended with; "": it answered
	Status   int    // that the provider sent; 0: none
	// After is when it began, from the start of the call; Wait is the pause before
	// it, and Took its time to the answer, a stream's first bytes or the error.
	After, Wait, Took time.Duration
}

// ToldAttempt is an attempt as rows and callbacks tell it, with times in
// milliseconds.
type ToldAttempt struct {
	Group    string  `json:"model_group"`
	ID       string  `json:"model_id,omitempty"`
	Model    string  `json:"model"`
	Provider string  `json:"provider,omitempty"`
	Region   string  `json:"region,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Error    string  `json:"error,omitempty"`
	Status   int     `json:"status,omitempty"`
	AfterMs  float64 `json:"after_ms"`
	WaitMs   float64 `json:"wait_ms,omitempty"`
	TookMs   float64 `json:"took_ms"`
}

// ToldAttempts are all attempts of a call that had to be told of.
func (e *Entry) ToldAttempts() []ToldAttempt {
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	var out []ToldAttempt
	for _, a := range e.Tried {
		out = append(out, ToldAttempt{Group: a.Group, ID: a.ModelID, Model: a.Model, Provider: a.Provider, Region: a.Region,
			Reason: a.Reason, Error: a.Class, Status: a.Status, AfterMs: millis(a.After), WaitMs: millis(a.Wait), TookMs: millis(a.Took)})
	}
	return out
}

// Fields of an attempt. They are for ever, as those of an entry.
const (
	tGroup = 1 + iota
	tModelID
	tModel
	tProvider
	tRegion
	tReason
	tClass
	tStatus
	tAfter
	tWait
	tTook
)

func appendAttempt(b []byte, a *Attempt) []byte {
	b = putString(b, tGroup, a.Group)
	b = putString(b, tModelID, a.ModelID)
	b = putString(b, tModel, a.Model)
	b = putString(b, tProvider, a.Provider)
	b = putString(b, tRegion, a.Region)
	b = putString(b, tReason, a.Reason)
	b = putString(b, tClass, a.Class)
	b = putInt(b, tStatus, int64(a.Status))
	b = putInt(b, tAfter, int64(a.After))
	b = putInt(b, tWait, int64(a.Wait))
	return putInt(b, tTook, int64(a.Took))
}

// putTried writes each attempt as a field of its own. Calls with several are
// rare: the bytes of one are made apart and copied.
func putTried(b []byte, field int, tried []Attempt) []byte {
	if len(tried) == 0 {
		return b
	}
	var space [256]byte
	for i := range tried {
		one := appendAttempt(space[:0], &tried[i])
		b = binary.AppendUvarint(b, uint64(field)<<1|wireBytes)
		b = binary.AppendUvarint(b, uint64(len(one)))
		b = append(b, one...)
	}
	return b
}

func readAttempt(s string) (Attempt, error) {
	a := Attempt{}
	r := reader{b: s}
	for {
		n, v, s := r.next()
		switch n {
		case 0:
			if r.err != nil {
				return Attempt{}, fmt.Errorf("attempt: %w", r.err)
			}
			return a, nil
		case tGroup:
			a.Group = s
		case tModelID:
			a.ModelID = s
		case tModel:
			a.Model = s
		case tProvider:
			a.Provider = s
		case tRegion:
			a.Region = s
		case tReason:
			a.Reason = s
		case tClass:
			a.Class = s
		case tStatus:
			a.Status = int(unzig(v))
		case tAfter:
			a.After = time.Duration(unzig(v))
		case tWait:
			a.Wait = time.Duration(unzig(v))
		case tTook:
			a.Took = time.Duration(unzig(v))
		}
	}
}

// keptPrevious is how many failed attempts LiteLLM's records keep.
const keptPrevious = 4

// Retried is how often a call was tried again in the same group; what fallbacks
// tried first is not counted.
func (e *Entry) Retried() int { return max(0, e.Attempts-1-e.Fallbacks) }

// Previous are the last of the attempts that failed before the one that ended the
// call.
func (e *Entry) Previous() []Attempt {
	if len(e.Tried) < 2 {
		return nil
	}
	before := e.Tried[:len(e.Tried)-1]
	return before[max(0, len(before)-keptPrevious):]
}

// ServedGroup is the group that answered when it was not the one asked for.
func (e *Entry) ServedGroup() string {
	if e.Fallbacks == 0 || len(e.Tried) == 0 {
		return ""
	}
	return e.Tried[len(e.Tried)-1].Group
}
