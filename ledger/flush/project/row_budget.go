package project

import (
	"time"

	"tollgate/config/model"
)

var budgetColumns = []string{"budget_id", "max_budget", "soft_budget", "max_parallel_requests", "tpm_limit", "rpm_limit",
	"model_max_budget", "budget_duration", "budget_reset_at", "allowed_models", "created_at", "created_by", "updated_at", "updated_by"}

// budgetRow is a budget as LiteLLM_BudgetTable has it.
type budgetRow struct {
	ID             string       `json:"budget_id"`
	MaxBudget      *float64     `json:"max_budget"`
	SoftBudget     *float64     `json:"soft_budget"`
	Parallel       *int64       `json:"max_parallel_requests"`
	TPM            *int64       `json:"tpm_limit"`
	RPM            *int64       `json:"rpm_limit"`
	ModelMaxBudget modelBudgets `json:"model_max_budget"`
	BudgetDuration *string      `json:"budget_duration"`
	BudgetResetAt  *stamp       `json:"budget_reset_at"`
	AllowedModels  []string     `json:"allowed_models"`
	CreatedAt      stamp        `json:"created_at"`
	CreatedBy      string       `json:"created_by"`
	UpdatedAt      stamp        `json:"updated_at"`
	UpdatedBy      string       `json:"updated_by"`
}

func budgetRowOf(v *view, b *model.Budget) *budgetRow {
	r := &budgetRow{
		ID: b.ID, MaxBudget: usd(b.MaxBudget), SoftBudget: usd(b.SoftBudget), Parallel: small(b.Parallel), TPM: b.TPM, RPM: b.RPM,
		BudgetDuration: text(b.BudgetDuration), BudgetResetAt: v.resetAt(b.BudgetDuration, b.CreatedAt), AllowedModels: list(b.AllowedModels),
		CreatedAt: made(b.CreatedAt), CreatedBy: who(b.CreatedBy), UpdatedAt: made(b.UpdatedAt), UpdatedBy: who(b.UpdatedBy),
	}
	if len(b.ModelMaxBudget) > 0 {
		r.ModelMaxBudget = modelBudgetsOf(b.ModelMaxBudget)
	}
	return r
}

// modelBudgets are budgets per model as LiteLLM writes them.
type modelBudgets map[string]modelBudget

type modelBudget struct {
	Limit  float64 `json:"budget_limit"`
	Period *string `json:"time_period"`
}

func modelBudgetsOf(m map[string]model.ModelBudget) modelBudgets {
	out := make(modelBudgets, len(m))
	for name, b := range m {
		out[name] = modelBudget{b.Max.USD(), text(b.Duration)}
	}
	return out
}

// budgetLimit is one of several windows that a key or a team has at once.
type budgetLimit struct {
	Duration string  `json:"budget_duration"`
	Max      float64 `json:"max_budget"`
	ResetAt  *stamp  `json:"reset_at"`
}

func budgetLimitsOf(v *view, windows []model.BudgetWindow, anchor time.Time) []budgetLimit {
	var out []budgetLimit
	for _, w := range windows {
		out = append(out, budgetLimit{w.Duration, w.Max.USD(), v.resetAt(w.Duration, anchor)})
	}
	return out
}
