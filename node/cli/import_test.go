package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const importBegun = `{"state":"running","node":"node-1","from":"db:5432/litellm","started":"2026-01-15T12:00:00Z","done":0,"total":0}`

func importEnded(more string) string {
	return `{"node":"node-1","from":"db:5432/litellm","started":"2026-01-15T12:00:00Z","ended":"2026-01-15T12:00:09Z","done":3,"total":3,` + more + `}`
}

func TestAnImportTellsWhatWasTakenAndFailsWhenSomethingWasLeft(t *testing.T) {
	cases := map[string]struct {
		ended  string
		status int
		out    string
		said   string
	}{
		"everything": {`"state":"done","report":{"taken":{"key":2,"user":1},"existed":{"team":4}}`, 0,
			"KIND  TAKEN OVER  EXISTED  LEFT\nkey   2           0        0\nteam  0           4        0\nuser  1           0        0\n", ""},
		"some left": {`"state":"done","report":{"taken":{"key":2},"left":{"key":1},"reasons":["key 12ab: its window is no window"]}`, 1,
			"key   2           0        1\n\nkey 12ab: its window is no window\n", "tollgate: 1 object was not taken over: the reason stands above\n"},
		"many left": {`"state":"done","report":{"left":{"key":1,"model":2}}`, 1, "model  0           0        2\n", "3 objects were not taken over"},
		"failed": {`"state":"failed","error":"connection refused","report":{"taken":{"key":2}}`, 1, "key   2           0        0\n",
			"the import ended early: connection refused; run it again"},
		"nothing there": {`"state":"done","report":{}`, 0, "nothing of LiteLLM's is in db:5432/litellm\n", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			n := node(t, map[string]string{"POST /cluster/import/litellm": importBegun, "GET /cluster/import/litellm": importEnded(c.ended)})
			out, said, status := command(t, "import", "litellm", "--from", "postgres://u:p@db/litellm")
			require.Equal(t, c.status, status, said)
			require.Contains(t, out, c.out)
			require.Contains(t, said, c.said)
			require.JSONEq(t, `{"from":"postgres://u:p@db/litellm"}`, n.bodies[0])

			out, _, status = command(t, "import", "litellm", "--from", "postgres://u:p@db/litellm", "--output", "json")
			require.Equal(t, c.status, status)
			require.JSONEq(t, importEnded(c.ended), out)
		})
	}
}

func TestTheDatabaseMayStandInTheEnvironment(t *testing.T) {
	n := node(t, map[string]string{"POST /cluster/import/litellm": importBegun, "GET /cluster/import/litellm": importEnded(`"state":"done"`)})
	_, said, status := command(t, "import", "litellm")
	require.Equal(t, 1, status)
	require.Contains(t, said, "no database")
	require.Empty(t, n.asked)
	t.Setenv("DATABASE_URL", "postgres://u:p@db/litellm")
	_, said, status = command(t, "import", "litellm")
	require.Zero(t, status, said)
	require.Contains(t, n.bodies[0], "postgres://u:p@db/litellm")
}

// Behind a balancer another node may answer, which knows of no import.
func TestAnImportOfAnotherNodeIsNotTakenForThisOne(t *testing.T) {
	for _, other := range []string{
		`{"state":"none","node":"node-2","done":0,"total":0}`,
		strings.Replace(importEnded(`"state":"done"`), "12:00:00Z", "11:00:00Z", 1),
		strings.Replace(importEnded(`"state":"done"`), "node-1", "node-2", 1),
	} {
		node(t, map[string]string{"POST /cluster/import/litellm": importBegun, "GET /cluster/import/litellm": other})
		_, said, status := command(t, "import", "litellm", "--from", "postgres://u:p@db/litellm")
		require.Equal(t, 1, status)
		require.Contains(t, said, "not a load balancer's")
	}
}
