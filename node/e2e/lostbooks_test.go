package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// lostNode makes calls on one node of three, waits until another has a copy of
// all, kills it and has the cluster forget it.
func lostNode(t *testing.T, c *cluster, key string, calls int) (lost *node) {
	t.Helper()
	lost = c.followers()[0]
	for range calls {
		if a := lost.chat(t, key, "gpt", "fake:words=10", oneCent); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	// One is in flight when the node dies: it is charged at its maximum.
	s := lost.open(t, "/v1/chat/completions", key, chatBody("gpt", "fake:gap=60s fake:words=10", `"stream":true,`+oneCent))
	s.until(t, "data: ")
	eventually(t, soon, "another node has a copy of all", func() error {
		lag, err := lost.metric("tollgate_replica_lag_entries")
		if err == nil && lag != 0 {
			err = fmt.Errorf("%v calls have no copy", lag)
		}
		return err
	})
	<-time.After(2 * time.Second) // calls in flight are copied when they are a second old
	lost.kill()
	eventually(t, soon, "the cluster forgets the lost node", func() error {
		if status, out := run(t, options{}, "forget", nameOf(c.index(lost)), "--yes", "--addr", c.living()[0].url); status != 0 {
			return fmt.Errorf("%d %s", status, out)
		}
		return nil
	})
	return lost
}

func TestTheRowsOfANodeThatIsLostWithItsDiskAreAnsweredFromItsCopy(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f)})
	key := c.nodes[0].newKey(t, fiveDollars)
	lostNode(t, c, key, 20)
	for _, n := range c.living() {
		eventually(t, soon, "a node tells the calls of the lost one", func() error {
			rows := n.rowsOfKey(t, key)
			interrupted := 0
			for _, r := range rows {
				if r.Get("metadata.status").String() == "interrupted" {
					interrupted++
				}
			}
			if len(rows) != 21 || interrupted != 1 {
				return fmt.Errorf("%d rows, %d of calls that were in flight", len(rows), interrupted)
			}
			return nil
		})
	}
}

func TestANodeThatIsLostWithCallsThatPostgreSQLLacksLeavesThemThereOnceAlsoWhenItComesBack(t *testing.T) {
	t.Parallel()
	pg := pgtest.StartOwn(t)
	url := pg.NewDatabase(t)
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f), env: []string{"DATABASE_URL=" + url}})
	key := c.nodes[0].newKey(t, fiveDollars)
	if a := c.nodes[0].chat(t, key, "gpt", "fake:words=10", oneCent); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	once := func(want int) {
		t.Helper()
		eventually(t, 2*soon, "PostgreSQL has each call once", func() error {
			rows, err := pgtest.Ask(url, `SELECT count(*), count(DISTINCT request_id), round(sum(spend)::numeric, 9),
				(SELECT round(spend::numeric, 9) FROM "LiteLLM_VerificationToken" WHERE token = api_key)
				FROM "LiteLLM_SpendLogs" WHERE api_key = '`+hashed(key)+`' GROUP BY api_key`)
			if err != nil {
				return err
			}
			if len(rows) != 1 {
				return errors.New("no rows yet")
			}
			n := fmt.Sprint(want)
			if !slices.Equal(rows[0][:2], []string{n, n}) || rows[0][2] != rows[0][3] {
				return fmt.Errorf("rows, ids, their sum and the key's spend: %v, want %d rows", rows[0], want)
			}
			return nil
		})
	}
	once(1)
	pg.Stop()
	lost := lostNode(t, c, key, 20)
	pg.Start(t)
	once(22)

	// Its disk was not lost after all: it is made a member again, as its refusal says.
	for _, dir := range []string{"raft", "cluster"} {
		if err := os.RemoveAll(filepath.Join(lost.o.dir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	lost.o.command = []string{"join", c.living()[0].o.cluster, "--token", c.living()[0].token(t)}
	lost.again()
	c.waitFormed()
	if a := lost.chat(t, key, "gpt", "fake:words=10", oneCent); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	once(23)
}
