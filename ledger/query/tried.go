package query

import (
	"strconv"
	"time"

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

// attempt is one deployment that a call was tried on, with times in milliseconds.
type attempt struct {
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

func attempts(e *store.Entry) []attempt {
	var out []attempt
	for _, a := range e.Tried {
		out = append(out, attempt{Group: a.Group, ID: a.ModelID, Model: a.Model, Provider: a.Provider, Region: a.Region,
			Reason: a.Reason, Error: a.Class, Status: a.Status, AfterMs: millis(a.After), WaitMs: millis(a.Wait), TookMs: millis(a.Took)})
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
