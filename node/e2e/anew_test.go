package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// reborn is an object that is deleted and made again under its id, and the key
// by which it spends.
type reborn struct {
	name       string
	make, drop [][2]string // route and body
	key        string
	shown      string // route and field of what it has spent
	row        string // SQL of the same
	limited    bool   // to ten calls of a cent
}

// TestWhatIsDeletedAndMadeAgainBeginsWithNothingSpent: over two nodes with
// PostgreSQL, at once after the deletion, through a kill and a reset. Each life may
// spend its budget, all of it and no more, and everybody tells its spend alone.
func TestWhatIsDeletedAndMadeAgainBeginsWithNothingSpent(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	url := pgtest.StartOwn(t).NewDatabase(t)
	c := startCluster(t, 2, clusterOptions{config: budgetConfig(f), env: []string{booksIn(url)}})
	key := func(name, fields string, limited bool) reborn {
		k := "sk-" + strings.ReplaceAll(name, " ", "-")
		return reborn{name: name, key: k, limited: limited,
			make:  [][2]string{{"/key/generate", `{"key":"` + k + `"` + fields + `}`}},
			drop:  [][2]string{{"/key/delete", `{"keys":["` + k + `"]}`}},
			shown: "/key/info?key=" + k + " info.spend",
			row:   `SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = ` + sqlText(hashOf(k))}
	}
	objects := []reborn{
		key("endless key", `,"max_budget":0.1`, true),
		key("daily key", `,"max_budget":0.1,"budget_duration":"1d"`, true),
		key("key with windows", `,"budget_limits":[{"budget_duration":"1d","max_budget":0.1}]`, true),
		key("free key", "", false),
		{name: "team", key: "sk-of-the-crew", limited: true,
			make: [][2]string{{"/team/new", `{"team_id":"crew","max_budget":0.1}`}, {"/key/generate", `{"key":"sk-of-the-crew","team_id":"crew"}`}},
			drop: [][2]string{{"/team/delete", `{"team_ids":["crew"]}`}}, shown: "/team/info?team_id=crew team_info.spend",
			row: `SELECT spend FROM "LiteLLM_TeamTable" WHERE team_id = 'crew'`},
		{name: "user", key: "sk-of-ann", limited: true,
			make: [][2]string{{"/user/new", `{"user_id":"ann","max_budget":0.1,"auto_create_key":false}`}, {"/key/generate", `{"key":"sk-of-ann","user_id":"ann"}`}},
			drop: [][2]string{{"/user/delete", `{"user_ids":["ann"]}`}}, shown: "/user/info?user_id=ann user_info.spend",
			row: `SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = 'ann'`},
	}
	all := func(steps [][2]string) {
		t.Helper()
		for i, s := range steps {
			if a := c.nodes[i%2].do(t, "POST", s[0], masterKey, s[1]); a.status != 200 {
				t.Fatalf("%s %s: %d %s", s[0], s[1], a.status, a.body)
			}
		}
	}
	tells := func(o *reborn, want float64) {
		t.Helper()
		route, field, _ := strings.Cut(o.shown, " ")
		for i, n := range c.nodes {
			eventually(t, soon, fmt.Sprintf("node %d says %v of the %s", i, want, o.name), func() error {
				a, err := n.call("GET", route, masterKey, "")
				if err != nil || a.status != 200 || a.get(field).Float() != want {
					return fmt.Errorf("%d %w %s", a.status, err, a.get(field).Raw)
				}
				return nil
			})
		}
		eventually(t, soon, fmt.Sprintf("PostgreSQL says %v of the %s", want, o.name), func() error {
			rows, err := pgtest.Ask(url, o.row)
			if err != nil || len(rows) != 1 || rows[0][0] != fmt.Sprint(want) {
				return fmt.Errorf("%v %w", rows, err)
			}
			return nil
		})
	}
	spend := func(o *reborn, calls int) {
		t.Helper()
		for i := range calls {
			if a := c.nodes[i%2].chat(t, o.key, "gpt", "fake:words=10", oneCent); a.status != 200 {
				t.Fatalf("call %d of the %s: %d %s", i, o.name, a.status, a.body)
			}
		}
		for _, n := range c.nodes {
			if a := n.chat(t, o.key, "gpt", "fake:words=10", oneCent); o.limited && calls == 10 && a.status != 429 {
				t.Errorf("call %d of the %s: %d %s", calls, o.name, a.status, a.body)
			} else if !o.limited && a.status != 200 {
				t.Errorf("%s: %d %s", o.name, a.status, a.body)
			}
		}
	}
	sum := func(o *reborn) float64 {
		if o.limited {
			return 0.1
		}
		return 0.12
	}
	for i := range objects {
		o := &objects[i]
		for life := range 3 {
			all(o.make)
			if life > 0 {
				tells(o, 0)
			}
			spend(o, 10)
			tells(o, sum(o))
			if life < 2 {
				all(o.drop)
			}
		}
	}

	c.nodes[1].kill()
	c.nodes[1].begin()
	c.nodes[1].ready()
	c.waitFormed()
	for i := range objects {
		o := &objects[i]
		tells(o, sum(o))
		if o.limited {
			for j, n := range c.nodes {
				eventually(t, soon, "the budget is still spent", func() error {
					if a := n.chat(t, o.key, "gpt", "fake:words=10", oneCent); a.status != 429 {
						return fmt.Errorf("node %d: %s: %d %s", j, o.name, a.status, a.body)
					}
					return nil
				})
			}
		}
	}
	for i := range 4 {
		o := &objects[i]
		if o.name == "key with windows" {
			continue // its own spend is no part of them
		}
		if a := c.nodes[0].do(t, "POST", "/key/"+o.key+"/reset_spend", masterKey, `{"reset_to":0}`); a.status != 200 {
			t.Fatalf("%s: %d %s", o.name, a.status, a.body)
		}
		tells(o, 0)
		spend(o, 10)
		tells(o, sum(o))
	}
}
