package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tollgate/ledger/store"
)

// wireVersion is the form of the two messages between nodes.
const wireVersion = 1

// What one node asks another. All other questions are worked out from these.
const (
	askLogs   = "logs"
	askCount  = "count"
	askGroups = "groups"
)

// question is what one node asks another.
type question struct {
	Version int         `json:"v"`
	Ask     string      `json:"ask"`
	Filter  *Filter     `json:"filter,omitempty"`
	By      []Dimension `json:"by,omitempty"`
	Range   *Range      `json:"range,omitempty"`
	// After are the ids of the last group of the answer before.
	After []string `json:"after,omitempty"`
}

// reply is one answer; large ones come in several.
type reply struct {
	Version int         `json:"v"`
	Rows    []wireRow   `json:"rows,omitempty"`
	Next    string      `json:"next,omitempty"`
	Count   int64       `json:"count,omitempty"`
	Exact   bool        `json:"exact,omitempty"`
	Groups  []wireGroup `json:"groups,omitempty"`
	More    bool        `json:"more,omitempty"`
	Code    string      `json:"code,omitempty"` // of a refusal
	Error   string      `json:"error,omitempty"`
}

// wireRow carries what the row's own JSON leaves out.
type wireRow struct {
	Row
	CallID  string   `json:"call_id"`
	Seq     uint64   `json:"seq"`
	Regions []string `json:"data_regions,omitempty"`
}

// wireGroup is a group in short: the sums in the order of wireSums.
type wireGroup struct {
	IDs  []string `json:"i,omitempty"`
	Sums []int64  `json:"s"`
}

// wireSums lists what is added up. New sums are appended: a node that does not
// know them leaves them out.
func wireSums(s *store.Sums) []*int64 {
	return []*int64{&s.Requests, &s.Successful, &s.Failed, &s.Prompt, &s.Completion, &s.CacheRead, &s.CacheWrite,
		(*int64)(&s.Spend), &s.DurationMs, &s.CacheHits}
}

func toWire(g *Group) wireGroup {
	w := wireGroup{IDs: g.IDs}
	for _, v := range wireSums(&g.Sums) {
		w.Sums = append(w.Sums, *v)
	}
	return w
}

func (w *wireGroup) group() Group {
	g := Group{IDs: w.IDs}
	for i, v := range wireSums(&g.Sums) {
		if i < len(w.Sums) {
			*v = w.Sums[i]
		}
	}
	return g
}

// size is about what a group takes on the wire.
func (w *wireGroup) size() int {
	n := 16 + 8*len(w.Sums)
	for _, id := range w.IDs {
		n += len(id) + 3
	}
	return n
}

func decodeQuestion(data []byte) (*question, error) {
	var q question
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, fmt.Errorf("read a question about spend: %w", err)
	}
	switch {
	case q.Version != wireVersion:
		return nil, fmt.Errorf("question about spend of version %d: this node knows %d", q.Version, wireVersion)
	case q.Ask == askGroups:
		if q.Range == nil {
			return nil, errors.New("question about sums without a range")
		}
		if len(q.By) > maxDimensions || len(q.After) != 0 && len(q.After) != len(q.By) {
			return nil, fmt.Errorf("question about sums by %d dimensions from a group of %d", len(q.By), len(q.After))
		}
	case q.Ask != askLogs && q.Ask != askCount:
		return nil, fmt.Errorf("question about spend: %q is not known", q.Ask)
	case q.Filter == nil:
		return nil, errors.New("question about calls without a filter")
	}
	return &q, nil
}

// decodeReply reads an answer to a question by so many dimensions.
func decodeReply(data []byte, dimensions int) (*reply, error) {
	var a reply
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("read an answer about spend: %w", err)
	}
	if a.Version != wireVersion {
		return nil, fmt.Errorf("answer about spend of version %d: this node knows %d", a.Version, wireVersion)
	}
	for i := range a.Groups {
		g := &a.Groups[i]
		if len(g.IDs) != dimensions {
			return nil, fmt.Errorf("answer about spend with a group of %d ids instead of %d", len(g.IDs), dimensions)
		}
		if g.IDs == nil {
			g.IDs = []string{}
		}
	}
	if a.Code != "" {
		return nil, a.refusal()
	}
	if a.More && len(a.Groups) == 0 {
		return nil, errors.New("an answer about spend promises more and gives nothing")
	}
	return &a, nil
}

// wireCodes keeps the errors that askers tell apart.
var wireCodes = map[string]error{"cursor": ErrCursor, "not_kept": ErrNotKept, "too_many": ErrTooMany}

func refused(err error) *reply {
	a := &reply{Version: wireVersion, Code: "failed", Error: err.Error()}
	for code, is := range wireCodes {
		if errors.Is(err, is) {
			a.Code = code
		}
	}
	return a
}

// refusal is the error again. Its text has been worded on the other node.
func (a *reply) refusal() error {
	if is := wireCodes[a.Code]; is != nil {
		return &wireError{a.Error, is}
	}
	return errors.New(a.Error)
}

type wireError struct {
	text string
	is   error
}

func (e *wireError) Error() string { return e.text }
func (e *wireError) Unwrap() error { return e.is }

func compareGroups(a, b Group) int { return slices.Compare(a.IDs, b.IDs) }

// rowsOf brings rows back, with nothing in them that an encoder would refuse.
func rowsOf(in []wireRow) []Row {
	out := make([]Row, len(in))
	for i, w := range in {
		out[i] = w.Row
		out[i].CallID, out[i].Seq, out[i].DataRegions = w.CallID, w.Seq, w.Regions
		if out[i].RequestTags == nil {
			out[i].RequestTags = []string{}
		}
		for _, b := range []*json.RawMessage{&out[i].Metadata, &out[i].Messages, &out[i].Response, &out[i].ProxyRequest} {
			if len(*b) == 0 {
				*b = json.RawMessage("{}")
			}
		}
	}
	return out
}
