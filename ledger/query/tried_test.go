package query_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

func TestRowTellsWhichModelsFailedBeforeTheAnswer(t *testing.T) {
	e := &store.Entry{Status: store.Success, Group: "fast", Model: "openai/gpt-4o", Attempts: 7, Fallbacks: 1, MaxRetries: 5,
		Metadata: []byte(`{"previous_models":"forged","model_group":"forged","mine":1}`)}
	for i := range 6 {
		e.Tried = append(e.Tried, store.Attempt{Group: "fast", ModelID: string(rune('a' + i)), Model: "groq/llama", Provider: "groq",
			Reason: "retry", Class: "RateLimitError", Status: 429, After: time.Duration(i) * time.Second, Took: 1500 * time.Microsecond})
	}
	e.Tried[0].Reason = ""
	e.Tried = append(e.Tried, store.Attempt{Group: "slow", ModelID: "z", Model: "openai/gpt-4o", Provider: "openai", Reason: "fallback", Wait: time.Second})
	r, err := query.NewRow(e, query.UserAuto, true)
	require.NoError(t, err)
	require.Equal(t, "fast", r.ModelGroup, "what was asked for")
	var m struct {
		Retries   int    `json:"attempted_retries"`
		Max       int    `json:"max_retries"`
		Fallbacks int    `json:"attempted_fallbacks"`
		Group     string `json:"model_group"`
		Mine      int    `json:"mine"`
		Previous  []struct {
			Model, ModelGroup string
			ID                string `json:"model_id"`
			Exception         string `json:"exception_type"`
			Text              string `json:"exception_string"`
		} `json:"previous_models"`
		Tollgate struct {
			Attempts []struct {
				Reason string  `json:"reason"`
				Took   float64 `json:"took_ms"`
				Wait   float64 `json:"wait_ms"`
			} `json:"attempts"`
		} `json:"tollgate"`
	}
	require.NoError(t, json.Unmarshal(r.Metadata, &m))
	require.Equal(t, 5, m.Retries)
	require.Equal(t, 5, m.Max)
	require.Equal(t, 1, m.Fallbacks)
	require.Equal(t, "slow", m.Group)
	require.Equal(t, 1, m.Mine)
	require.Len(t, m.Previous, 4, "the last four, as LiteLLM keeps")
	require.Equal(t, "c", m.Previous[0].ID)
	require.Equal(t, "f", m.Previous[3].ID)
	require.Equal(t, "RateLimitError", m.Previous[3].Exception)
	require.Contains(t, m.Previous[3].Text, "429")
	require.Len(t, m.Tollgate.Attempts, 7)
	require.Equal(t, 1.5, m.Tollgate.Attempts[0].Took)
	require.Equal(t, 1000.0, m.Tollgate.Attempts[6].Wait)
}

func TestRowOfTheUsualCallTellsNoAttempts(t *testing.T) {
	r, err := query.NewRow(&store.Entry{Status: store.Success, Group: "m", Attempts: 1}, query.UserAuto, true)
	require.NoError(t, err)
	require.NotContains(t, string(r.Metadata), "previous_models")
	require.NotContains(t, string(r.Metadata), `"attempts"`)
	require.Contains(t, string(r.Metadata), `"attempted_fallbacks":0`)
}
