package project

import (
	"encoding/json"
	"errors"
	"fmt"

	"tollgate/config/model"
)

var modelColumns = []string{"model_id", "model_name", "litellm_params", "model_info", "created_at", "created_by", "updated_at", "updated_by"}

// modelRow is a deployment as LiteLLM_ProxyModelTable has it.
type modelRow struct {
	ID        string                     `json:"model_id"`
	Group     string                     `json:"model_name"`
	Params    map[string]json.RawMessage `json:"litellm_params"`
	Info      map[string]json.RawMessage `json:"model_info"`
	CreatedAt stamp                      `json:"created_at"`
	CreatedBy string                     `json:"created_by"`
	UpdatedAt stamp                      `json:"updated_at"`
	UpdatedBy string                     `json:"updated_by"`
}

// errNoSigningKey says why models have no rows.
var errNoSigningKey = errors.New("no key to encrypt the parameters with: set LITELLM_SALT_KEY or a master key")

// modelRowOf encrypts every string among the parameters, as LiteLLM does: a
// model must never stand in the table with a key that can be read.
func modelRowOf(v *view, d *model.DBModel) any {
	fail := func(err error) any {
		v.faults(d.ID, err)
		return nil
	}
	if !v.p.cipher.ready() {
		return fail(errNoSigningKey)
	}
	plain, err := v.p.cfg.Open(&d.Deployment)
	if err != nil {
		return fail(fmt.Errorf("open the parameters: %w", err))
	}
	r := &modelRow{ID: d.ID, Group: d.Group, Params: make(map[string]json.RawMessage, len(plain.Params)),
		Info:      map[string]json.RawMessage{"id": quote(d.ID), "db_model": json.RawMessage("true")},
		CreatedAt: made(d.CreatedAt), CreatedBy: who(d.CreatedBy), UpdatedAt: made(d.UpdatedAt), UpdatedBy: who(d.UpdatedBy)}
	for name, raw := range plain.Params {
		s, ok := stringOf(raw)
		if !ok {
			r.Params[name] = raw
			continue
		}
		hidden, err := v.p.cipher.encrypt(s)
		if err != nil {
			return fail(err)
		}
		r.Params[name] = quote(hidden)
	}
	// What is sealed inside model_info is a secret that LiteLLM has no form for
	// there; it stays out.
	for name, raw := range d.Info {
		if _, taken := r.Info[name]; !taken && !hasSealed(raw) {
			r.Info[name] = raw
		}
	}
	return r
}

func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a form
		return json.RawMessage(`""`)
	}
	return b
}

func stringOf(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}
