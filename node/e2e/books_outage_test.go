package e2e

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

func TestANodeServesBeforeItsDatabaseIsThereAndWritesWhatWaited(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	pg := pgtest.StartOwn(t)
	url := pg.NewDatabase(t)
	pg.Stop()
	n := start(t, options{config: configFor(f, ""), env: []string{booksIn(url)}})
	key := n.newKey(t, `"user_id":"early","key_alias":"early"`)
	var ids []string
	for range 20 {
		a := n.chat(t, key, "gpt", "hi", `"stream":false`)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		ids = append(ids, a.get("id").String())
	}
	if a := n.get(t, "/health/readiness", ""); a.status != 200 || a.get("db").String() == "connected" {
		t.Errorf("without a database: %d %s", a.status, a.body)
	}
	n.kill() // what waits for the database waits on the disk
	n.again()
	pg.Start(t)
	sqlBecomes(t, url, "20", `SELECT count(*) FROM "LiteLLM_SpendLogs"`)
	oneRowEach(t, url, ids)
	sqlBecomes(t, url, "early", `SELECT user_id FROM "LiteLLM_VerificationToken" WHERE key_alias = 'early'`)
	booksAgree(t, url, key, n)
	eventually(t, soon, "the node says that it is connected", func() error {
		if a := n.get(t, "/health/readiness", ""); a.get("db").String() != "connected" {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
}

func TestNoCallFailsOrIsLostWhilePostgreSQLIsStoppedPausedAndKilledUnderLoad(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	pg := pgtest.StartOwn(t)
	url := pg.NewDatabase(t)
	n := start(t, options{config: configFor(f, ""), env: []string{booksIn(url)}})
	key := n.newKey(t, `"max_budget":1000`)
	sqlBecomes(t, url, "1", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)
	load := traffics(t, n, key, 8, 2, 10)
	load.moves(t, 50, 2)
	for name, fault := range map[string][2]func(){
		"stopped": {pg.Stop, func() { pg.Start(t) }},
		"killed":  {pg.Kill, func() { pg.Start(t) }},
		"paused":  {pg.Pause, pg.Resume},
	} {
		fault[0]()
		// A call that waited for the database would wait for ever: it comes back
		// only when all this is done.
		load.moves(t, 150, 4)
		fresh := n.newKey(t, `"max_budget":1`)
		if a := n.chat(t, fresh, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%s: a key made meanwhile: %d %s", name, a.status, a.body)
		}
		if a := n.chat(t, "sk-nobody-has-this", "gpt", "hi", ""); a.status != 401 {
			t.Errorf("%s: a key that nobody has: %d %s", name, a.status, a.body)
		}
		if a := n.get(t, "/key/info?key="+fresh, masterKey); a.status != 200 {
			t.Errorf("%s: /key/info: %d %s", name, a.status, a.body)
		}
		fault[1]()
		load.moves(t, 50, 1)
	}
	load.end()
	if wrong := load.wrong(time.Time{}); len(wrong) > 0 {
		t.Errorf("%d calls failed, the first: %+v", len(wrong), wrong[0])
	}
	calls, streams := load.done()
	sqlBecomes(t, url, strconv.Itoa(calls+streams), `SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE api_key = %s`, sqlText(hashOf(key)))
	booksAgree(t, url, key, n)
	t.Logf("%d calls and %d streams", calls, streams)
}

func TestANodeHoldsFiveConnectionsAtMostWhateverItIsAsked(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	n := start(t, options{config: configFor(f, ""), env: []string{booksIn(url)}})
	key := n.newKey(t, "")
	load := traffics(t, n, key, 8, 0, 0)
	load.moves(t, 100, 0)
	stop := make(chan struct{})
	var crew sync.WaitGroup
	for i := range 12 {
		path := []string{"/spend/logs?summarize=false&limit=100", "/global/spend/report?group_by=api_key&start_date=2020-01-01&end_date=2035-01-01",
			"/spend/logs/export?format=csv", "/user/daily/activity?start_date=2020-01-01&end_date=2035-01-01"}[i%4]
		crew.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := n.call("GET", path, masterKey, ""); err != nil || a.status != 200 {
					t.Errorf("%s: %d %v %s", path, a.status, err, tail(a.body, 200))
					return
				}
				if a, err := n.call("POST", "/key/generate", masterKey, `{}`); err != nil || a.status != 200 {
					t.Errorf("/key/generate: %d %v", a.status, err)
					return
				}
			}
		})
	}
	most := 0
	for range 100 {
		rows := sqlRows(t, url, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tollgate'`)
		held, err := strconv.Atoi(rows[0][0])
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, held)
	}
	close(stop)
	crew.Wait()
	load.end()
	if most > 5 || most < 2 {
		t.Errorf("it held %d connections, want 5 at most, and some while it is asked", most)
	}
	if others := sqlRows(t, url, `SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'tollgate'`); len(others) > 0 {
		t.Errorf("somebody else is connected: %v", others)
	}
	t.Logf("%d connections at the most", most)
}
