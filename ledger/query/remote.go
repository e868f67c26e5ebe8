package query

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	// replyBytes is about how large one answer may become before the rest goes
	// into another. What one row adds beyond it is bounded by the bodies kept.
	replyBytes = 8 << 20
	// bodyRows are read at a time where each may carry large bodies.
	bodyRows = 8
)

// Serve answers another node's question from this node's book.
func Serve(ctx context.Context, book Query, payload []byte) ([]byte, error) {
	q, err := decodeQuestion(payload)
	if err != nil {
		return nil, err
	}
	var a *reply
	switch q.Ask {
	case askLogs:
		a, err = serveLogs(ctx, book, *q.Filter)
	case askCount:
		a = &reply{}
		a.Count, a.Exact, err = book.Count(ctx, *q.Filter)
	case askGroups:
		a, err = serveGroups(ctx, book, q)
	}
	if err != nil {
		a = refused(err)
	}
	a.Version = wireVersion
	out, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode an answer about spend: %w", err)
	}
	return out, nil
}

// serveLogs fills a page until it is full or large.
func serveLogs(ctx context.Context, book Query, f Filter) (*reply, error) {
	limit, bytes := f.limit(), 0
	a := &reply{}
	for {
		f.Limit = limit - len(a.Rows)
		if f.Bodies {
			f.Limit = min(f.Limit, bodyRows)
		}
		page, err := book.Logs(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Rows {
			a.Rows = append(a.Rows, wireRow{Row: r, CallID: r.CallID, Seq: r.Seq, Regions: r.DataRegions})
			bytes += 1024 + len(r.Metadata) + len(r.Messages) + len(r.Response) + len(r.ProxyRequest)
		}
		a.Next = page.Next
		if a.Next == "" || len(a.Rows) >= limit || bytes >= replyBytes || len(page.Rows) == 0 {
			return a, nil
		}
		f.Cursor, f.Skip = a.Next, 0
	}
}

// serveGroups gives the groups after those that the asker has, in the order of
// their ids. What is booked between two answers may be in the later ones only.
func serveGroups(ctx context.Context, book Query, q *question) (*reply, error) {
	r := *q.Range
	if len(q.After) > 0 && q.By[0] == ByDay { // whole days are behind
		if day, err := time.Parse(time.DateOnly, q.After[0]); err == nil && day.After(r.From) {
			r.From = day
		}
	}
	groups, err := book.Groups(ctx, q.By, r)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, compareGroups)
	a, bytes := &reply{}, 0
	for i := range groups {
		if len(q.After) > 0 && slices.Compare(groups[i].IDs, q.After) <= 0 {
			continue
		}
		if bytes >= replyBytes {
			a.More = true
			break
		}
		g := toWire(&groups[i])
		a.Groups = append(a.Groups, g)
		bytes += g.size()
	}
	return a, nil
}

// Remote asks another node for what stands in its book.
type Remote struct {
	figures
	ask remoteAsk
}

var _ Query = (*Remote)(nil)

// remoteAsk carries a question to the other node, and its answer back.
type remoteAsk func(ctx context.Context, payload []byte) ([]byte, error)

// NewRemote makes a Query of a node that answers with Serve.
func NewRemote(ask func(ctx context.Context, payload []byte) ([]byte, error)) *Remote {
	return &Remote{figures{remoteAsk(ask)}, ask}
}

func (ask remoteAsk) put(ctx context.Context, q question) (*reply, error) {
	q.Version = wireVersion
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode a question about spend: %w", err)
	}
	data, err := ask(ctx, payload)
	if err != nil {
		return nil, err
	}
	return decodeReply(data, len(q.By))
}

// Logs gives the other node's rows.
func (q *Remote) Logs(ctx context.Context, f Filter) (Page, error) {
	a, err := q.ask.put(ctx, question{Ask: askLogs, Filter: &f})
	if err != nil {
		return Page{}, err
	}
	return Page{Rows: rowsOf(a.Rows), Next: a.Next}, nil
}

// Count counts the other node's rows.
func (q *Remote) Count(ctx context.Context, f Filter) (int64, bool, error) {
	a, err := q.ask.put(ctx, question{Ask: askCount, Filter: &f})
	if err != nil {
		return 0, false, err
	}
	return a.Count, a.Exact, nil
}

// Groups fetches the other node's groups, answer by answer.
func (ask remoteAsk) Groups(ctx context.Context, by []Dimension, r Range) ([]Group, error) {
	r.Limit = 0
	q := question{Ask: askGroups, By: by, Range: &r}
	var out []Group
	for {
		a, err := ask.put(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range a.Groups {
			g := a.Groups[i].group()
			if len(out) > 0 && compareGroups(out[len(out)-1], g) >= 0 {
				return nil, fmt.Errorf("an answer about spend repeats itself at %q", g.IDs)
			}
			out = append(out, g)
		}
		if !a.More {
			return out, nil
		}
		if len(out) > maxGroups {
			return nil, ErrTooMany
		}
		q.After = out[len(out)-1].IDs
	}
}
