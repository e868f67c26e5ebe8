package flush

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// rowColumns are the columns that a row is copied into. request_id comes first:
// it is chosen when the others are written already.
const rowColumns = `request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
	request_duration_ms, "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata,
	cache_hit, cache_key, request_tags, team_id, organization_id, end_user, requester_ip_address, messages, response,
	proxy_server_request, session_id, status`

// rows are calls in COPY's text form.
type rows struct {
	entries []*store.Entry
	ids     []string // request ids
	calls   []string // the calls' own ids
	buf     []byte   // everything but the ids, one line each
	ends    []int
}

func (r *rows) reset() {
	r.entries, r.ids, r.calls, r.buf, r.ends = r.entries[:0], r.ids[:0], r.calls[:0], r.buf[:0], r.ends[:0]
}

// add appends an entry's row.
func (r *rows) add(e *store.Entry, users query.UserColumn) error {
	row, err := query.NewRow(e, users, true)
	if err != nil {
		return err
	}
	tags, err := json.Marshal(row.RequestTags)
	if err != nil {
		return fmt.Errorf("row of call %s: %w", row.CallID, err)
	}
	r.entries = append(r.entries, e)
	r.ids = append(r.ids, text(row.RequestID, longestID))
	r.calls = append(r.calls, row.CallID)
	b := r.buf
	b = field(b, row.CallType)
	b = field(b, row.APIKey)
	b = strconv.AppendFloat(tab(b), row.Spend, 'g', -1, 64)
	b = number(b, row.TotalTokens)
	b = number(b, row.PromptTokens)
	b = number(b, row.CompletionTokens)
	b = moment(b, row.StartTime)
	b = moment(b, row.EndTime)
	b = number(b, row.RequestDurationMs)
	b = moment(b, row.CompletionStart)
	for _, s := range [...]string{row.Model, row.ModelID, row.ModelGroup, row.Provider} {
		b = field(b, s)
	}
	b = escape(tab(b), text(row.APIBase, longestText))
	b = field(b, row.User)
	b = document(b, row.Metadata)
	b = field(b, row.CacheHit)
	b = field(b, row.CacheKey)
	b = document(b, tags)
	for _, s := range [...]string{row.TeamID, row.OrganizationID, row.EndUser, row.RequesterIP} {
		b = field(b, s)
	}
	b = document(b, row.Messages)
	b = document(b, row.Response)
	b = document(b, row.ProxyRequest)
	b = field(b, row.SessionID)
	b = field(b, row.Status)
	r.buf = append(b, '\n')
	r.ends = append(r.ends, len(r.buf))
	return nil
}

func tab(b []byte) []byte { return append(b, '\t') }

func field(b []byte, s string) []byte { return escape(tab(b), text(s, longestID)) }

func document(b, doc []byte) []byte { return escape(tab(b), jsonText(doc)) }

// number keeps within an INTEGER column.
func number(b []byte, n int64) []byte {
	return strconv.AppendInt(tab(b), max(0, min(n, math.MaxInt32)), 10)
}

// moment is cut to milliseconds, not rounded: a call stays on the day that the
// daily sums have it on.
func moment(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(tab(b), "2006-01-02 15:04:05.000")
}

// escape writes a value as COPY reads it.
func escape[T string | []byte](b []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' && c != '\n' && c != '\r' && c != '\t' {
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '\n':
			c = 'n'
		case '\r':
			c = 'r'
		case '\t':
			c = 't'
		}
		b = append(b, '\\', c)
		from = i + 1
	}
	return append(b, s[from:]...)
}

// resolve gives each row an id that no other has: the provider's if it is free,
// else the call's own.
func (r *rows) resolve(taken map[string]bool) []string {
	ids := make([]string, len(r.ids))
	for i, id := range r.ids {
		if taken[id] {
			id = r.calls[i]
		}
		if taken[id] { // a provider that answers with another call's id
			id += "-" + strconv.FormatUint(r.entries[i].Seq, 36)
		}
		taken[id] = true
		ids[i] = id
	}
	return ids
}

// ordered gives the numbers of the rows in the order of their ids: two nodes that
// bring the same ids then wait for one another, and do not deadlock.
func ordered(ids []string) []int {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ids[a], ids[b]) })
	return order
}

// lines reads rows with their ids in front.
type lines struct {
	rows    *rows
	ids     []string
	order   []int
	pending []byte
	scratch []byte
	next    int
}

// Read gives the next bytes of the COPY.
func (l *lines) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(l.pending) == 0 {
			if l.next == len(l.ids) {
				break
			}
			i, from := l.order[l.next], 0
			if i > 0 {
				from = l.rows.ends[i-1]
			}
			l.scratch = escape(l.scratch[:0], l.ids[i])
			l.scratch = append(l.scratch, l.rows.buf[from:l.rows.ends[i]]...)
			l.pending = l.scratch
			l.next++
		}
		c := copy(p[n:], l.pending)
		l.pending = l.pending[c:]
		n += c
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func callText(e *store.Entry) string { return uuid.UUID(e.CallID).String() }
