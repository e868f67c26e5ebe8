package query

import (
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/store"
)

// charge is a budget in which a call counts.
type charge struct {
	Scope string     `json:"scope"`
	ID    string     `json:"id"`
	Since *time.Time `json:"window_start,omitempty"` // nil: the budget never begins anew
}

func charges(e *store.Entry) []charge {
	if len(e.Charges) == 0 {
		return nil
	}
	out := make([]charge, len(e.Charges))
	for i := range e.Charges {
		c := &e.Charges[i]
		out[i] = charge{Scope: c.Scope.Dim.String(), ID: idOf(c.Scope)}
		if c.Window != 0 {
			since := time.Unix(c.Window, 0).UTC()
			out[i].Since = &since
		}
	}
	return out
}

// idOf is a scope's id as refusals show it.
func idOf(sc model.Scope) string { return strings.ReplaceAll(sc.ID, "\x1f", ":") }

// limitRefused is the limit or budget that refused a call, in the unit that it has.
type limitRefused struct {
	Scope    string     `json:"scope"`
	ID       string     `json:"id"`
	Unit     string     `json:"unit"`
	Limit    float64    `json:"limit"`
	Used     float64    `json:"used"`
	Reserved float64    `json:"reserved,omitempty"`
	Needed   float64    `json:"needed,omitempty"`
	ResetsAt *time.Time `json:"resets_at,omitempty"`
}

// unitMoney is the unit of budgets.
const unitMoney = "usd"

func refusalOf(r *store.Refused) *limitRefused {
	if r == nil {
		return nil
	}
	amount := func(n int64) float64 {
		if r.Unit == unitMoney {
			return unit.Money(n).USD()
		}
		return float64(n)
	}
	out := &limitRefused{Scope: r.Scope.Dim.String(), ID: idOf(r.Scope), Unit: r.Unit, Limit: amount(r.Limit), Used: amount(r.Used),
		Reserved: amount(r.Reserved), Needed: amount(r.Needed)}
	if !r.Resets.IsZero() {
		at := r.Resets.UTC()
		out.ResetsAt = &at
	}
	return out
}
