//go:build invariants

package budget

import (
	"fmt"

	"tollgate/config/unit"
)

// checkGrant stops the process when a grant handed out more than the limit: to
// go on would be to give money away. Credit may stand above a limit that was
// lowered, but a grant may not add to it.
func checkGrant(w *window, limit, before unit.Money) {
	if out := w.out(); out > limit && out > before {
		panic(fmt.Sprintf("budget bank granted %s of a limit of %s", out, limit))
	}
}
