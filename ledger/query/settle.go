package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Tail is what one node has booked and perhaps not yet written to the database.
type Tail struct {
	Name string
	// Settle returns when all that the node had booked before the call is
	// written. Nil: the node cannot be asked.
	Settle func(ctx context.Context) error
}

// SettleAll makes a PostgresConfig.Settle of all nodes: it asks them at once, and
// names those that were not ready in time.
func SettleAll(tails func() []Tail) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var wg sync.WaitGroup
		all := tails()
		faults := make([]error, len(all))
		for i, t := range all {
			if t.Settle == nil {
				faults[i] = fmt.Errorf("%s: %w", t.Name, ErrAway)
				continue
			}
			wg.Go(func() {
				if err := t.Settle(ctx); err != nil {
					faults[i] = fmt.Errorf("%s: %w", t.Name, err)
				}
			})
		}
		wg.Wait()
		var missing []string
		for i, err := range faults {
			if err != nil {
				missing = append(missing, all[i].Name)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		return &PartialError{Missing: missing, Err: errors.Join(faults...)}
	}
}
