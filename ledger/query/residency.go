package query

import (
	"context"
	"encoding/json"
)

// Within answers as q does to somebody who stands in one region: rows of calls
// whose data may not be there come without what the client sent or was told.
// allows decides by the row's DataRegions, ids and what else is known of them.
func Within(q Query, allows func(*Row) bool) Query { return &within{q, allows} }

type within struct {
	Query
	allows func(*Row) bool
}

// Logs gives rows newest first.
func (w *within) Logs(ctx context.Context, f Filter) (Page, error) {
	page, err := w.Query.Logs(ctx, f)
	for i := range page.Rows {
		if r := &page.Rows[i]; !w.allows(r) {
			r.strip()
		}
	}
	return page, err
}

// strip is what store.Entry.Strip is for a row.
func (r *Row) strip() {
	r.Messages, r.Response, r.ProxyRequest = object(nil), object(nil), object(nil)
	r.RequesterIP = ""
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(r.Metadata, &fields) != nil {
		fields = map[string]json.RawMessage{}
	}
	for k := range fields {
		if !reserved[k] {
			delete(fields, k)
		}
	}
	// Rows of other writers have in these fields what their clients sent.
	for _, k := range []string{"spend_logs_metadata", "proxy_server_request", "guardrail_information", "mcp_tool_call_metadata", "vector_store_request_metadata"} {
		if _, ok := fields[k]; ok {
			fields[k] = json.RawMessage("null")
		}
	}
	if _, ok := fields["requester_ip_address"]; ok {
		fields["requester_ip_address"] = json.RawMessage(`""`)
	}
	var owner string
	_ = json.Unmarshal(fields["user_api_key_user_id"], &owner) //nolint:errcheck // then nobody owns it
	r.User = owner                                             // else it may be what the request said
	if raw, ok := fields["error_information"]; ok {
		var e errorInfo
		_ = json.Unmarshal(raw, &e) //nolint:errcheck // what is not understood is not told
		e.Message, e.Traceback = "", ""
		fields["error_information"] = marshal(&e)
	}
	r.Metadata = marshal(fields)
}

func marshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}
