package admin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every route that is served stands in docs/api.md, and the page promises none
// that is not.
func TestThePageOfRoutesNamesEveryRoute(t *testing.T) {
	raw, err := os.ReadFile("../../docs/api.md")
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+) (/[^` ]*)`(?:, `(/[^` ]+)`)*").FindAllString(string(raw), -1) {
		method := regexp.MustCompile("`([A-Z]+) ").FindStringSubmatch(m)[1]
		for _, path := range regexp.MustCompile("[` ](/[^`]*)`").FindAllStringSubmatch(m, -1) {
			if strings.HasPrefix(path[1], "/cluster/") { // the operators' API has a test of its own
				continue
			}
			documented = append(documented, method+" "+path[1])
		}
	}
	var served []string
	for path, methods := range (&Admin{}).table() {
		for method := range methods {
			served = append(served, method+" "+path)
		}
	}
	served = append(served, frontRoutes...)
	slices.Sort(documented)
	slices.Sort(served)
	for _, r := range served {
		require.Contains(t, documented, r, "add it to docs/api.md")
	}
	for _, r := range documented {
		require.Contains(t, served, r, "docs/api.md names a route that is not there")
	}
	require.Len(t, documented, len(served), "a route stands twice")
}

// frontRoutes are answered before the management API is asked.
var frontRoutes = []string{
	"GET /", "GET /health", "GET /health/liveliness", "GET /health/liveness", "GET /health/readiness", "GET /metrics",
	"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/messages", "POST /v1/messages/count_tokens",
	"POST /openai/deployments/{}/chat/completions", "POST /engines/{}/chat/completions",
	"GET /v1/models", "GET /v1/models/{}",
}
