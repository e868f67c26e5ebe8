package project

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"tollgate/config/model"
)

// savedSettings looks at what LiteLLM's console has saved for whether models of
// the database are in use.
func (a *adoption) savedSettings(ctx context.Context) error {
	type row struct {
		Name  string `json:"param_name"`
		Value field  `json:"param_value"`
	}
	return scan(ctx, a, configKind, "LiteLLM_Config", "param_name", func(r *row) {
		if r.Name == "general_settings" {
			a.storesModel = string(r.Value.object()["store_model_in_db"]) == "true"
		}
	})
}

// readCredentials reads the named credentials. The state keeps those of the
// configuration file only, so the others are laid into the models that name
// them.
func (a *adoption) readCredentials(ctx context.Context) error {
	type row struct {
		Name   string `json:"credential_name"`
		Values field  `json:"credential_values"`
	}
	a.credentials = map[string]map[string]string{}
	return scan(ctx, a, "credential", "LiteLLM_CredentialsTable", "credential_name", func(r *row) {
		values := map[string]string{}
		for name, v := range r.Values.texts() {
			plain, err := a.cipher.decrypt(v)
			if err != nil {
				if marked(v) || looksEncrypted(v) {
					a.remark("credential", r.Name, name+" does not open with the salt key or the master key")
					continue
				}
				plain = v
			}
			values[name] = plain
		}
		a.credentials[r.Name] = values
	})
}

// looksEncrypted reports whether a value has the form of the oldest encryption:
// base64 of a nonce, a tag and at least one byte.
func looksEncrypted(v string) bool {
	raw, ok := decode64(v)
	return ok && len(raw) > nonceSize+16
}

type proxyModelRow struct {
	ID        string `json:"model_id"`
	Name      string `json:"model_name"`
	Params    field  `json:"litellm_params"`
	Info      field  `json:"model_info"`
	Blocked   bool   `json:"blocked"`
	CreatedAt dbTime `json:"created_at"`
	UpdatedAt dbTime `json:"updated_at"`
	CreatedBy string `json:"created_by"`
}

func (a *adoption) models(ctx context.Context) error {
	used := a.storesModel
	inFile := map[string]bool{}
	if c := a.base.ActiveConfig(); c != nil {
		used = used || c.Config.General.StoreModelInDB
		for i := range c.Config.Deployments {
			inFile[c.Config.Deployments[i].ID] = true
		}
	}
	err := scan(ctx, a, "model", "LiteLLM_ProxyModelTable", "model_id", func(r *proxyModelRow) {
		switch {
		case !used:
			a.leave("model", r.ID, "LiteLLM did not use it: store_model_in_db is not set")
		case r.Blocked:
			a.leave("model", r.ID, "it is blocked")
		case inFile[r.ID]:
			count(&a.report.Existed, "model", 1)
		default:
			a.model(r)
		}
	})
	return err
}

func (a *adoption) model(r *proxyModelRow) {
	d := &model.DBModel{Meta: meta(r.CreatedAt, r.UpdatedAt, r.CreatedBy), Deployment: model.Deployment{ID: r.ID, Group: r.Name,
		Params: a.plain(r.ID, r.Params), Info: model.Params(r.Info.object())}}
	delete(d.Info, "id")
	delete(d.Info, "db_model")
	if called, ok := stringOf(d.Params["model"]); !ok || called == "" {
		a.leave("model", r.ID, "its parameters name no model")
		return
	} else if marked(called) {
		a.leave("model", r.ID, "its parameters do not open with the salt key or the master key")
		return
	}
	a.withCredential(d)
	if err := a.seal(&d.Deployment); err != nil {
		a.leave("model", r.ID, "its secrets could not be sealed: "+err.Error())
		return
	}
	a.take(&found{kind: "model", table: model.Models, entity: d})
}

// plain decrypts what is encrypted; what does not open is plain text, as it is
// for LiteLLM, whose rows from before it encrypted are.
func (a *adoption) plain(id string, params field) model.Params {
	out := model.Params{}
	for name, raw := range params.object() {
		s, ok := stringOf(raw)
		if !ok {
			out[name] = raw
			continue
		}
		opened, err := a.cipher.decrypt(s)
		switch {
		case err == nil:
			out[name] = quote(opened)
		default:
			if marked(s) {
				a.remark("model", id, name+" does not open with the salt key or the master key and is used as it stands")
			}
			out[name] = raw
		}
	}
	return out
}

// withCredential lays a named credential of the database into a model.
func (a *adoption) withCredential(d *model.DBModel) {
	name, ok := stringOf(d.Params["litellm_credential_name"])
	if !ok || name == "" {
		return
	}
	if c := a.base.ActiveConfig(); c != nil && c.Config.Credentials[name] != nil {
		return
	}
	values, ok := a.credentials[name]
	if !ok {
		a.remark("model", d.Deployment.ID, "it names the credential "+name+", which does not exist")
		return
	}
	delete(d.Params, "litellm_credential_name")
	for _, field := range slices.Sorted(maps.Keys(values)) {
		if _, set := d.Params[field]; !set {
			d.Params[field] = json.RawMessage(quote(values[field]))
		}
	}
}
