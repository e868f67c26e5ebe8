// Package verify recounts the books: whether a node's ledger is whole and its
// sums are those of its entries, and whether the database holds what the ledgers
// do. It only reads and mends nothing.
package verify

import (
	"context"
	"fmt"

	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// Check is one thing that was looked at.
type Check struct {
	Name string `json:"name"`
	// Looked is how many entries, sums or days were compared.
	Looked int64 `json:"looked"`
	// Differences is how many of them are not as they should be.
	Differences int64 `json:"differences"`
	// Examples are some of those, in words.
	Examples []string `json:"examples,omitempty"`
	// Skipped says why a check was not made.
	Skipped string `json:"skipped,omitempty"`
}

// maxExamples bounds what is told of the differences of one check.
const maxExamples = 10

func (c *Check) differs(format string, args ...any) {
	c.Differences++
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// Report is what was found.
type Report struct {
	Checks []Check `json:"checks"`
	// Notes are what the reader should know beside the checks.
	Notes []string `json:"notes,omitempty"`
}

// OK reports whether nothing differs.
func (r *Report) OK() bool {
	for _, c := range r.Checks {
		if c.Differences > 0 {
			return false
		}
	}
	return true
}

// Books are what a node can check.
type Books struct {
	Ledger *store.Ledger
	// Ledgers answers from all nodes' ledgers, Database from PostgreSQL; both nil
	// where there is no database.
	Ledgers, Database query.Query
}

// All checks the ledger, then what the database holds of all ledgers. progress
// may be nil.
func All(ctx context.Context, b Books, progress func(what string, n int64)) (*Report, error) {
	r, err := Ledger(ctx, b.Ledger, progress)
	if err != nil || b.Database == nil || b.Ledgers == nil {
		return r, err
	}
	err = database(ctx, b.Ledgers, b.Database, r)
	return r, err
}
