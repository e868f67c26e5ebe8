package project

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// dbTime is a timestamp of the tables: without a zone, in UTC.
type dbTime struct{ *time.Time }

// UnmarshalJSON reads what PostgreSQL writes.
func (d *dbTime) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	t, err := parseTime(*s)
	if err != nil {
		return err
	}
	d.Time = &t
	return nil
}

func parseTime(s string) (time.Time, error) {
	s = strings.Replace(s, " ", "T", 1)
	t, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05.999999999", s)
	}
	return t.UTC(), err
}

func (d dbTime) or(t time.Time) time.Time {
	if d.Time == nil {
		return t
	}
	return *d.Time
}

// field is JSON of a column. Some versions have written it as text inside JSON.
type field json.RawMessage

// UnmarshalJSON takes text that holds an object or a list out of its quotes.
func (f *field) UnmarshalJSON(b []byte) error {
	*f = append((*f)[:0], b...)
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if t := strings.TrimSpace(s); len(t) > 1 && (t[0] == '{' || t[0] == '[') && json.Valid([]byte(t)) {
			*f = field(t)
		}
	}
	return nil
}

// object is the field's members; nil when it is none.
func (f field) object() map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if len(f) == 0 || json.Unmarshal(f, &m) != nil {
		return nil
	}
	return m
}

// raw is the field for an entity: nothing for what says nothing.
func (f field) raw() json.RawMessage {
	switch strings.TrimSpace(string(f)) {
	case "", "null", "{}", "[]", `""`:
		return nil
	}
	return json.RawMessage(f)
}

// texts are the members that are strings.
func (f field) texts() map[string]string {
	var out map[string]string
	for name, v := range f.object() {
		if s, ok := stringOf(v); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = s
		}
	}
	return out
}

// money reads an amount; false when there is none or it is no amount.
func money(n json.Number) (*unit.Money, bool) {
	if n == "" {
		return nil, true
	}
	m, err := unit.ParseMoney(n.String())
	if err != nil || m < 0 {
		return nil, false
	}
	return &m, true
}

// amountOf reads a number of JSON, or one in quotes.
func amountOf(raw json.RawMessage) *unit.Money {
	m, ok := money(json.Number(strings.Trim(string(raw), `"`)))
	if !ok || string(raw) == "null" || len(raw) == 0 {
		return nil
	}
	return m
}

// modelBudgetsIn reads {model: {budget_limit, time_period}}, the same under
// max_budget and budget_duration, and the older {model: amount}.
func (f field) modelBudgetsIn() map[string]model.ModelBudget {
	var out map[string]model.ModelBudget
	for name, raw := range f.object() {
		b := model.ModelBudget{}
		if in := field(raw).object(); in != nil {
			limit := amountOf(first(in, "budget_limit", "max_budget"))
			if limit == nil {
				continue
			}
			b.Max = *limit
			b.Duration, _ = stringOf(first(in, "time_period", "budget_duration"))
		} else if limit := amountOf(raw); limit != nil {
			b.Max = *limit
		} else {
			continue
		}
		if out == nil {
			out = map[string]model.ModelBudget{}
		}
		out[name] = b
	}
	return out
}

func first(in map[string]json.RawMessage, names ...string) json.RawMessage {
	for _, n := range names {
		if v, ok := in[n]; ok && string(v) != "null" {
			return v
		}
	}
	return nil
}

// windowsIn reads a list of {budget_duration, max_budget}.
func (f field) windowsIn() []model.BudgetWindow {
	var list []struct {
		Duration string      `json:"budget_duration"`
		Max      json.Number `json:"max_budget"`
	}
	if len(f) == 0 || json.Unmarshal(f, &list) != nil {
		return nil
	}
	var out []model.BudgetWindow
	for _, w := range list {
		if m, ok := money(w.Max); ok && m != nil && w.Duration != "" {
			out = append(out, model.BudgetWindow{Duration: w.Duration, Max: *m})
		}
	}
	return out
}

// metadata takes apart what LiteLLM keeps inside metadata.
type metadata struct {
	fields map[string]json.RawMessage
}

func metadataOf(f field) metadata { return metadata{f.object()} }

func (m metadata) take(name string) json.RawMessage {
	v, ok := m.fields[name]
	if !ok {
		return nil
	}
	delete(m.fields, name)
	if string(v) == "null" {
		return nil
	}
	return v
}

func (m metadata) limits(name string) map[string]int64 {
	var out map[string]int64
	for group, v := range field(m.fields[name]).object() {
		n, err := strconv.ParseFloat(string(v), 64)
		if err != nil || n < 0 || n > 1<<53 {
			continue
		}
		if out == nil {
			out = map[string]int64{}
		}
		out[group] = int64(n)
	}
	if out != nil {
		delete(m.fields, name)
	}
	return out
}

func (m metadata) list(name string) []string {
	var out []string
	if json.Unmarshal(m.fields[name], &out) != nil || out == nil {
		return nil
	}
	delete(m.fields, name)
	return out
}

// extras moves fields that are kept and shown only out of metadata.
func (m metadata) extras(into map[string]json.RawMessage, names []string) {
	for _, n := range names {
		if v := m.take(n); v != nil {
			into[n] = v
		}
	}
}

// rest is what is the caller's own.
func (m metadata) rest() json.RawMessage {
	if len(m.fields) == 0 {
		return nil
	}
	b, err := json.Marshal(m.fields)
	if err != nil {
		return nil
	}
	return b
}

// extra keeps a column that is only shown, unless it says nothing.
func extra(into map[string]json.RawMessage, name string, v json.RawMessage) {
	switch string(v) {
	case "", "null", "[]", "{}", "false", "0", `""`:
	default:
		into[name] = slices.Clone(v)
	}
}

func orNone(m map[string]json.RawMessage) map[string]json.RawMessage {
	if len(m) == 0 {
		return nil
	}
	return m
}

// limitColumns and budgetColumnsIn are columns that several tables have.
type limitColumns struct {
	Parallel *int64 `json:"max_parallel_requests"`
	TPM      *int64 `json:"tpm_limit"`
	RPM      *int64 `json:"rpm_limit"`
}

func (l limitColumns) limits() model.Limits {
	return model.Limits{RPM: l.RPM, TPM: l.TPM, Parallel: l.Parallel}
}

type budgetFields struct {
	MaxBudget  json.Number `json:"max_budget"`
	SoftBudget json.Number `json:"soft_budget"`
	Duration   string      `json:"budget_duration"`
	ResetAt    dbTime      `json:"budget_reset_at"`
	Spend      json.Number `json:"spend"`
}

// spending reads what may be spent. An amount that cannot be read must not
// become no limit: the reason is given back.
func (b *budgetFields) spending() (sp model.Spending, why string) {
	var ok bool
	if sp.MaxBudget, ok = money(b.MaxBudget); !ok {
		return sp, "max_budget " + b.MaxBudget.String() + " is no amount that can be a limit"
	}
	if sp.SoftBudget, ok = money(b.SoftBudget); !ok {
		sp.SoftBudget = nil
	}
	if _, err := unit.ParseWindow(b.Duration); err != nil {
		return sp, "budget_duration: " + err.Error()
	}
	sp.BudgetDuration = b.Duration
	return sp, ""
}

func meta(created, updated dbTime, by string) model.Meta {
	if by == "" {
		by = adopter
	}
	return model.Meta{CreatedAt: created.or(time.Time{}), UpdatedAt: updated.or(time.Time{}), CreatedBy: by, UpdatedBy: by}
}
