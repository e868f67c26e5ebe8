package query

import (
	"strconv"

	"tollgate/ledger/store"
)

// previousModel is a failed attempt as LiteLLM's rows tell it.
type previousModel struct {
	Model     string `json:"model"`
	Group     string `json:"model_group"`
	ID        string `json:"model_id,omitempty"`
	Exception string `json:"exception_type"`
	Text      string `json:"exception_string"`
}

func previousModels(e *store.Entry) []previousModel {
	var out []previousModel
	for _, a := range e.Previous() {
		text := a.Class
		if a.Status != 0 {
			text += ": the provider answered " + strconv.Itoa(a.Status)
		}
		out = append(out, previousModel{Model: a.Model, Group: a.Group, ID: a.ModelID, Exception: a.Class, Text: text})
	}
	return out
}
