package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newLedger() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ledger",
		Short:   "Take calls out of the books as a file, or recount the books",
		Example: "  tollgate ledger export --since 7d --format csv --output calls.csv\n  tollgate ledger verify",
		Args:    cobra.NoArgs,
		RunE:    helpOnly,
	}
	cmd.AddCommand(newLedgerExport(), newLedgerVerify())
	return cmd
}

// moment reads a point in time: a date, a time, or how long ago ("7d", "12h").
// Dates are UTC.
func moment(flag, v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	days := 0
	if n, err := fmt.Sscanf(v, "%dd", &days); err == nil && n == 1 && fmt.Sprintf("%dd", days) == v && days >= 0 && days < 100_000 {
		return now.UTC().AddDate(0, 0, -days), nil
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return now.UTC().Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--%s %q: want a date (2026-05-31), a time (2026-05-31T12:00:00Z) or how long ago (7d, 12h)", flag, v)
}

// warnings tell what an answer about spend says that it lacks.
func warnings(h http.Header) []string {
	var out []string
	if v := h.Get("X-Spend-Without"); v != "" {
		out = append(out, "the calls of these nodes are missing: "+v)
	}
	if v := h.Get("X-Spend-From-Copy"); v != "" {
		out = append(out, "answered from another node's copy, the last calls may be missing: "+v)
	}
	if h.Get("X-Spend-Source") == "ledger" {
		out = append(out, "PostgreSQL did not answer; these are the calls that the nodes still have")
	}
	return out
}
