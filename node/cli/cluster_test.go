package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/clusterapi"
)

// operated is a node that answers the operators' API from a table.
type operated struct {
	mu      sync.Mutex
	answers map[string]string // by "METHOD /path"; "404 …" answers with that status
	asked   []string
	bodies  []string
}

func node(t *testing.T, answers map[string]string) *operated {
	t.Helper()
	n := &operated{answers: answers}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.asked = append(n.asked, r.Method+" "+r.URL.RequestURI())
		n.bodies = append(n.bodies, string(body))
		answer, ok := n.answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(404)
			answer = `{"detail":"Not Found"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	bare(t, "LITELLM_MASTER_KEY=sk-admin", "TOLLGATE_ADDR="+srv.URL)
	return n
}

const threeMembers = `{"members":[
 {"id":"01A","name":"node-1","region":"eu","zone":"a","role":"node","raft":"leader","state":"alive","since":"2026-01-15T11:00:00Z","addr":"10.0.0.1:7946","api":"10.0.0.1:4000","version":"v1","applied":1240,"in_flight":8,"config_hash":"ab12","rtt_ms":0.42,"cert_expires":"2026-02-14T00:00:00Z"},
 {"id":"01B","name":"node-2","region":"eu","role":"node","raft":"voter","state":"alive","addr":"10.0.0.2:7946","version":"v1","applied":1238,"in_flight":2,"config_hash":"ff99","self":true},
 {"id":"01C","name":"node-3","region":"us","role":"witness","raft":"voter","state":"dead","since":"2026-01-15T11:59:30Z","addr":"10.1.0.1:7946","in_flight":0}]}`

const oneStatus = `{"cluster_id":"01CLUSTER","generation":1,"node_id":"01B","name":"node-2","region":"eu","version":"v1","state":"follower","ready":false,"reason":"the ledger is full",
 "leader":"node-1","leader_id":"01A","leader_age_ms":12,"term":7,"applied":1238,"commit":1240,"voters":3,"nodes":3,"alive":2,"quorum":true,"profile":"wan","feature":2,
 "in_flight":2,"config_version":12,"config_hash":"ff9912345678abcd","config_alike":false,"problems":["node-3 is dead since 30s"]}`

func TestCommandsOfTheClusterBecomeRequests(t *testing.T) {
	cases := []struct {
		args   string
		asked  string
		body   string
		answer string
		out    string // a part of it
	}{
		{"token list", "GET /cluster/tokens", "", `{"tokens":[{"id":"t1","role":"node","uses":2,"expires":"2026-01-15T13:00:00Z","by":"ada"}]}`, "t1  node  2          2026-01-15T13:00:00Z  ada"},
		{"token revoke t1", "DELETE /cluster/tokens?id=t1", "", `{"revoked":"t1"}`, "revoked: t1"},
		{"drain", "POST /cluster/drain", `{"on":true}`, `{"draining":true}`, "the node drains"},
		{"drain --off", "POST /cluster/drain", `{"on":false}`, `{"draining":false}`, "the node takes traffic"},
		{"forget node-3 --yes", "POST /cluster/forget", `{"node":"node-3"}`, `{"forgotten":"node-3"}`, "forgotten: node-3"},
		{"transfer-leadership", "POST /cluster/transfer-leadership", `{}`, `{"leader":"node-2"}`, "leader: node-2"},
		{"transfer-leadership node-2", "POST /cluster/transfer-leadership", `{"to":"node-2"}`, `{"leader":"node-2"}`, "leader: node-2"},
		{"config history", "GET /cluster/config/history", "", `{"versions":[{"number":2,"hash":"ab12cd34ef567890","at":"2026-01-15T12:00:00Z","node":"node-1","by":"ada","active":true},{"number":1,"hash":"00","at":"2026-01-14T12:00:00Z"}]}`,
			"2*       ab12cd34ef56  2026-01-15T12:00:00Z  node-1  ada  -"},
		{"config rollback 12", "POST /cluster/config/rollback", `{"version":12}`, `{"number":15,"hash":"ab"}`, "version 12 runs again, as version 15 (ab)"},
		{"config show --cluster", "GET /cluster/config", "", `{"number":3,"config":{"x":1}}`, `"number": 3`},
		{"config show --cluster 2", "GET /cluster/config/2", "", `{"number":2}`, `"number": 2`},
		{"config diff", "GET /cluster/config/diff", "", `{"same":true,"cluster_hash":"ab","cluster_version":3}`, "the same: the cluster has just that, as version 3 (ab)"},
		{"config apply", "POST /cluster/config/apply", "", `{"changed":false,"number":3,"hash":"ab"}`, "nothing to do"},
		{"secrets status", "GET /cluster/secrets/rotate", "", `{"current":"aa","former":["bb"],"resealed":7,"pending":["node-3"]}`, "not yet on    node-3\nNext: give those nodes the new LITELLM_SALT_KEY"},
		{"secrets finish", "POST /cluster/secrets/finish", "", `{"current":"aa"}`, "current key   aa"},
		{"key block sk-1", "POST /key/block", `{"key":"sk-1"}`, `{"blocked":true}`, "blocked  true"},
		{"key unblock sk-1", "POST /key/unblock", `{"key":"sk-1"}`, `{}`, ""},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			where, _, _ := strings.Cut(c.asked, "?")
			n := node(t, map[string]string{where: c.answer})
			out, said, status := command(t, strings.Fields(c.args)...)
			require.Zero(t, status, said)
			require.Equal(t, []string{c.asked}, n.asked)
			if c.body == "" {
				require.Empty(t, n.bodies[0])
			} else {
				require.JSONEq(t, c.body, n.bodies[0])
			}
			require.Contains(t, out, c.out)

			out, said, status = command(t, append(strings.Fields(c.args), "--output", "json")...)
			require.Zero(t, status, said)
			require.JSONEq(t, c.answer, out)
		})
	}
}

func TestATokenStandsAloneOnTheLastLine(t *testing.T) {
	made := `{"token":"tgj1-secret","id":"t1","role":"node","uses":2,"expires":"2026-01-15T13:00:00Z"}`
	n := node(t, map[string]string{"POST /cluster/token": made, "GET /cluster/members": threeMembers})
	out, said, status := command(t, "token", "create", "--ttl", "30m", "--uses", "2")
	require.Zero(t, status, said)
	require.JSONEq(t, `{"ttl":"30m0s","uses":2,"role":"node"}`, n.bodies[0])
	require.Equal(t, "For 2 nodes until 2026-01-15T13:00:00Z. On the new machine:\n"+
		"  tollgate join 10.0.0.1:7946,10.0.0.2:7946 --token tgj1-secret\ntgj1-secret\n", out)

	node(t, map[string]string{"POST /cluster/token": made}) // members are not told
	out, _, status = command(t, "token", "create")
	require.Zero(t, status)
	require.Contains(t, out, "tollgate join HOST:7946 --token")
	require.True(t, strings.HasSuffix(out, "\ntgj1-secret\n"))
}

func TestMembersAndStatusAreLaidOutForPeople(t *testing.T) {
	for _, c := range []struct{ args, file string }{{"members", "members.golden"}, {"status", "status.golden"}} {
		path := filepath.Join(repository(t), "node/cli/testdata", c.file)
		node(t, map[string]string{"GET /cluster/members": threeMembers, "GET /cluster/status": oneStatus})
		out, said, status := command(t, c.args)
		require.Zero(t, status, said)
		golden(t, path, out)
	}
}

func TestAStatusWithoutLeaderOrMajoritySaysSoLoudly(t *testing.T) {
	node(t, map[string]string{"GET /cluster/status": `{"cluster_id":"01C","name":"node-1","state":"candidate","term":9,"voters":3,"nodes":3,"alive":1,"draining":true}`})
	out, said, status := command(t, "status")
	require.Zero(t, status, said)
	for _, part := range []string{"NONE KNOWN, term 9", "NO MAJORITY", "none yet", "draining", "1 of 3 alive", "the members are not known"} {
		require.Contains(t, out, part)
	}
}

func TestWatchShowsThePageAgainAndOutlivesANodeThatIsAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, pages := 0, make(chan int, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cluster/members" {
			_, _ = io.WriteString(w, threeMembers)
			return
		}
		n++
		if n == 2 {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"error":{"message":"starting"}}`)
			return
		}
		_, _ = io.WriteString(w, oneStatus)
		if pages <- n; n == 4 {
			cancel()
		}
	}))
	t.Cleanup(srv.Close)
	var out strings.Builder
	c := &client{addr: srv.URL, key: "k", output: "table", out: &out}
	require.NoError(t, c.watchStatus(ctx, time.Millisecond, false))
	require.GreaterOrEqual(t, strings.Count(out.String(), "in flight"), 3)
	require.Contains(t, out.String(), "starting")
	require.Contains(t, out.String(), "peak 2")
}

func TestBarsAndSparklinesKeepTheirProportions(t *testing.T) {
	require.Equal(t, "····", bar(0, 10, 4))
	require.Equal(t, "██··", bar(5, 10, 4))
	require.Equal(t, "████", bar(10, 10, 4))
	require.Equal(t, "████", bar(99, 10, 4))
	require.Equal(t, "▏···", bar(1, 1_000_000, 4), "something is never nothing")
	require.Equal(t, "····", bar(3, 0, 4))
	require.Equal(t, "····", bar(-3, 4, 4))
	require.Equal(t, "▁▄█", sparkline([]int64{0, 5, 10}))
	require.Equal(t, "▁▁", sparkline([]int64{0, 0}))
	require.Empty(t, sparkline(nil))
	var p past
	for i := range int64(100) {
		p.add(i, uint64(i*2+1))
	}
	require.Len(t, p.inFlight, pastPages)
	require.Equal(t, int64(2), p.applied[0])
	p.add(0, 1) // another node answers: no negative changes
	require.Len(t, p.applied, pastPages)
}

func TestDrainAndLeaveWaitAndTellHowFarItIs(t *testing.T) {
	t.Run("drain", func(t *testing.T) {
		left := 3
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left--
			_, _ = io.WriteString(w, `{"in_flight":`+string(rune('0'+left))+`}`)
		}))
		t.Cleanup(srv.Close)
		var said strings.Builder
		c := &client{addr: srv.URL}
		require.NoError(t, c.untilIdle(newProgress(&said), time.Minute, time.Millisecond))
		require.Equal(t, "2 calls in flight\n1 call in flight\nnothing is in flight\n", said.String())
	})
	t.Run("drain for too long", func(t *testing.T) {
		node(t, map[string]string{"POST /cluster/drain": `{"draining":true}`, "GET /cluster/status": `{"in_flight":2}`})
		_, said, status := command(t, "drain", "--wait", "1ns")
		require.Equal(t, 1, status)
		require.Contains(t, said, "2 calls in flight after 1ns: wait longer with --wait")
	})
	t.Run("leave", func(t *testing.T) {
		var srv *httptest.Server
		srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"name":"node-3","in_flight":1}`)
			go srv.Listener.Close()
			w.Header().Set("Connection", "close")
		}))
		srv.Config.SetKeepAlivesEnabled(false)
		t.Cleanup(srv.Close)
		var said strings.Builder
		c := &client{addr: srv.URL}
		require.NoError(t, c.untilGone(newProgress(&said), &clusterapi.Status{Name: "node-3"}, time.Minute, time.Millisecond))
		require.Contains(t, said.String(), "node-3 is leaving: 1 call in flight\n")
		require.True(t, strings.HasSuffix(said.String(), "node-3 has left\n"))
	})
	t.Run("leave where a balancer asks another node then", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"name":"node-1","node_id":"one"}`)
		}))
		t.Cleanup(srv.Close)
		var said strings.Builder
		c := &client{addr: srv.URL}
		require.NoError(t, c.untilGone(newProgress(&said), &clusterapi.Status{Name: "node-3", NodeID: "three"}, time.Minute, time.Millisecond))
		require.Equal(t, "node-3 has left\n", said.String())
	})
	t.Run("leave of a node that only falls silent", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		t.Cleanup(srv.Close)
		var said strings.Builder
		c := &client{addr: srv.URL, http: http.Client{Timeout: 20 * time.Millisecond}}
		require.ErrorContains(t, c.untilGone(newProgress(&said), &clusterapi.Status{Name: "node-3"}, time.Millisecond, time.Millisecond), "node-3 has not been seen to leave")
	})
	t.Run("leave without waiting", func(t *testing.T) {
		n := node(t, map[string]string{"POST /cluster/leave": `{"leaving":true}`, "GET /cluster/status": `{"name":"node-3"}`})
		_, said, status := command(t, "leave", "--wait", "0")
		require.Zero(t, status, said)
		require.Equal(t, []string{"GET /cluster/status", "POST /cluster/leave"}, n.asked)
		require.Contains(t, said, "node-3 is leaving")
	})
	t.Run("a node that will not go", func(t *testing.T) {
		node(t, map[string]string{"POST /cluster/leave": `{"leaving":true}`, "GET /cluster/status": `{"name":"node-3"}`})
		_, said, status := command(t, "leave", "--wait", "1ns")
		require.Equal(t, 1, status)
		require.Contains(t, said, "node-3 has not been seen to leave within 1ns")
	})
}

func TestWhatCannotBeUndoneIsAskedFirst(t *testing.T) {
	n := node(t, nil)
	_, said, status := command(t, "forget", "node-3")
	require.Equal(t, 1, status)
	require.Contains(t, said, "add --yes")
	require.Empty(t, n.asked)

	var out strings.Builder
	require.NoError(t, confirm(strings.NewReader("node-3\nmore"), &out, "It is gone.", "node-3"))
	require.Equal(t, "It is gone.\nType node-3 to go on: ", out.String())
	for _, answer := range []string{"", "\n", "y\n", "node-33\n", " node-3"} {
		require.ErrorContains(t, confirm(strings.NewReader(answer), io.Discard, "?", "node-3"), "nothing was changed")
	}
}

func TestTheNewSaltKeyComesFromAFileOrTheEnvironmentAndIsNeverShown(t *testing.T) {
	answer := map[string]string{"POST /cluster/secrets/rotate": `{"current":"aa","former":["bb"],"resealed":7}`}
	n := node(t, answer)
	require.NoError(t, os.WriteFile("new.key", []byte("canary-canary-canary\n"), 0o600))
	out, said, status := command(t, "secrets", "rotate", "--new-salt-key-file", "new.key")
	require.Zero(t, status, said)
	require.JSONEq(t, `{"new_kek":"canary-canary-canary"}`, n.bodies[0])
	require.Contains(t, out, "sealed anew   7 values\nNext: put the new key into the LITELLM_SALT_KEY")
	require.NotContains(t, out+said, "canary")

	n = node(t, answer)
	t.Setenv(newSaltKey, "canary-from-environment")
	_, said, status = command(t, "secrets", "rotate")
	require.Zero(t, status, said)
	require.JSONEq(t, `{"new_kek":"canary-from-environment"}`, n.bodies[0])

	n = node(t, answer)
	t.Setenv(newSaltKey, "")
	_, said, status = command(t, "secrets", "rotate")
	require.Equal(t, 1, status)
	require.Contains(t, said, "no new salt key: set "+newSaltKey)
	require.NoError(t, os.WriteFile("empty", []byte("\n"), 0o600))
	_, said, status = command(t, "secrets", "rotate", "--new-salt-key-file", "empty")
	require.Equal(t, 1, status)
	require.Contains(t, said, "the file is empty")
	require.Empty(t, n.asked)
}

func TestStepsOfARotationArePrintedAsTheyCome(t *testing.T) {
	cases := []struct {
		name, answer, out, said string
		json                    bool
	}{
		{"to the end", "{\"step\":\"installed\"}\n{\"step\":\"in use\"}\n{\"done\":true}\n", "installed\nin use\ndone\n", "", false},
		{"as JSON", "{\"step\":\"installed\"}\n{\"done\":true}\n", "{\"step\":\"installed\"}\n{\"done\":true}\n", "", true},
		{"to a fault", "{\"step\":\"installed\"}\n{\"error\":{\"message\":\"node-3 does not answer.\",\"code\":\"x\"}}\n", "installed\n", "node-3 does not answer.", false},
		{"broken off", "{\"step\":\"installed\"}\n{\"st", "installed\n", "broke off before the end", false},
		{"nothing", "", "", "broke off before the end", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			node(t, map[string]string{"POST /cluster/gossip/rotate": c.answer})
			args := []string{"gossip", "rotate-key"}
			if c.json {
				args = append(args, "--output", "json")
			}
			out, said, status := command(t, args...)
			require.Equal(t, c.out, out)
			require.Contains(t, said, c.said)
			require.Equal(t, c.said == "", status == 0)
		})
	}
}

func TestSlipsInCommandsOfTheClusterAreCaughtBeforeAnythingIsSent(t *testing.T) {
	cases := []struct {
		args string
		want string
	}{
		{"config rollback last", `"last" is no config version`},
		{"config rollback 0", `"0" is no config version`},
		{"config show --cluster ../members", "is no config version"},
		{"config show --cluster --effective", "--effective is for a file"},
		{"drain --off --wait 1m", "--off has nothing to wait for"},
		{"status --watch --interval 0s", "--interval must be more than nothing"},
		{"token create --ttl soon", `--ttl "soon": want a duration`},
		{"token create --uses two", `--uses "two": want a whole number`},
		{"token revoke", "accepts 1 arg"},
		{"members extra", `unknown command "extra"`},
		{"config diff gone.yaml", "no such file"},
		{"config apply gone.yaml", "no such file"},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			n := node(t, nil)
			_, said, status := command(t, strings.Fields(c.args)...)
			require.Equal(t, 1, status)
			require.Contains(t, said, c.want)
			require.Empty(t, n.asked)
		})
	}
}

func TestWrongFieldsBecomeOneSentence(t *testing.T) {
	addr, _ := gateway(t, 422, `{"detail":[{"loc":["body","ttl"],"msg":"Value error, ttl must be less","type":"value_error"},{"loc":["body","env","A"],"msg":"Input should be a valid string","type":"string_type"}]}`)
	bare(t, "LITELLM_MASTER_KEY=sk-admin")
	_, said, status := command(t, "token", "create", "--addr", addr)
	require.Equal(t, 1, status)
	require.Equal(t, "tollgate: 422 Unprocessable Entity: ttl: ttl must be less; env.A: Input should be a valid string", strings.TrimSpace(said))
}
