package clusterapi

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every route of the operators' API stands in docs/api.md, and the page
// promises none that is not there.
func TestThePageOfRoutesNamesEveryRouteOfTheCluster(t *testing.T) {
	raw, err := os.ReadFile("../../docs/api.md")
	require.NoError(t, err)
	var documented, served []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+) (/cluster/[^` ]*)`(?:, `(/cluster/[^` ]+)`)*").FindAllString(string(raw), -1) {
		method := regexp.MustCompile("`([A-Z]+) ").FindStringSubmatch(row)[1]
		for _, path := range regexp.MustCompile("[` ](/[^`]*)`").FindAllStringSubmatch(row, -1) {
			documented = append(documented, method+" "+path[1])
		}
	}
	for path, methods := range table() {
		for method := range methods {
			served = append(served, method+" "+path)
		}
	}
	slices.Sort(documented)
	slices.Sort(served)
	require.Equal(t, served, documented)
}
