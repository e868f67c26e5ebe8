package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// Whoever writes the audit log may be killed: the next goes on where it ended.
func TestEachChangeIsInTheAuditLogOnceThroughALeadersDeath(t *testing.T) {
	f := fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), env: []string{"DATABASE_URL=" + url}})
	var want []string
	team := func(on *node) {
		t.Helper()
		id := fmt.Sprintf("team-%02d", len(want))
		eventually(t, formWithin, "a team can be made", func() error {
			a, err := on.call("POST", "/team/new", masterKey, fmt.Sprintf(`{"team_id":%q}`, id), "Idempotency-Key", id)
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%d %s", a.status, tail(a.body, 200))
			}
			return err
		})
		want = append(want, id)
	}
	shown := func(on *node) {
		t.Helper()
		eventually(t, formWithin, "all are in the log", func() error {
			a, err := on.call("GET", "/audit?table_name=LiteLLM_TeamTable&action=created&page_size=100&sort_by=object_id&sort_order=asc", masterKey, "")
			if err != nil {
				return err
			}
			var got []string
			for _, row := range gjson.Get(a.body, "audit_logs").Array() {
				got = append(got, row.Get("object_id").String())
			}
			if a.status != 200 || !slices.Equal(got, want) {
				return fmt.Errorf("%d, %d of %d: %v", a.status, len(got), len(want), got)
			}
			return nil
		})
	}
	for i := range 12 {
		team(c.nodes[i%3])
	}
	shown(c.nodes[0])
	leader := c.leader()
	survivors := c.followers()
	team(survivors[0])
	leader.kill()
	for i := range 6 {
		team(survivors[i%2])
	}
	for _, n := range survivors {
		shown(n)
	}
	leader.again()
	c.waitFormed()
	team(leader)
	shown(leader)
}
