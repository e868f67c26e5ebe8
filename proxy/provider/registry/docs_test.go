package registry_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
	"tollgate/proxy/provider/registry"
)

var update = flag.Bool("update", false, "write the table of docs/providers.md")

// The table stands between these lines; the rest of the page is written by hand.
const (
	page  = "../../../docs/providers.md"
	begin = "<!-- table: go test ./proxy/provider/registry -update -->\n"
	end   = "<!-- end of table -->"
)

func TestThePageOfProvidersListsEveryRow(t *testing.T) {
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(raw), begin)
	require.True(t, ok, "the page has lost its mark %s", begin)
	old, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "the page has lost its mark %s", end)
	table := providerTable()
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(head+begin+table+end+tail), 0o644))
		return
	}
	require.Equal(t, table, old, "run go test ./proxy/provider/registry -update")
}

func providerTable() string {
	var b strings.Builder
	b.WriteString("| Prefix | Address | Key | Address from | Calls |\n|---|---|---|---|---|\n")
	r := registry.New(nil)
	defaults := registry.Defaults()
	names := []string{"anthropic"}
	for _, row := range openai.Rows() {
		names = append(names, row.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		d := defaults[name]
		base := d.Base
		if base == "" {
			base = "`api_base` of the deployment"
		}
		key := code(d.KeyEnv)
		if d.KeyOptional {
			key += " (optional)"
		}
		var calls []string
		for _, op := range []struct {
			op   provider.Op
			name string
		}{{provider.OpChat, "chat"}, {provider.OpMessages, "messages"}, {provider.OpCompletion, "completions"}, {provider.OpEmbedding, "embeddings"}} {
			if _, ok := r.Find(name, op.op); ok {
				calls = append(calls, op.name)
			}
		}
		fmt.Fprintf(&b, "| `%s/` | %s | %s | %s | %s |\n", name, base, key, code(d.BaseEnv), strings.Join(calls, ", "))
	}
	return b.String()
}

func code(names []string) string {
	if len(names) == 0 {
		return "–"
	}
	return "`" + strings.Join(names, "`, `") + "`"
}
