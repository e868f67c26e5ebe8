package query_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/residency"
	"tollgate/ledger/query"
	"tollgate/ledger/query/querytest"
	"tollgate/ledger/store"
)

// secretText stands wherever a client can put something.
const secretText = "qX7-whisper"

func telling(e store.Entry) *store.Entry {
	said := []byte(`{"said":"` + secretText + `"}`)
	e.Metadata, e.SpendLogsMetadata, e.Messages, e.Response, e.Request = said, said, said, said, said
	e.ErrorMessage, e.IP, e.RequestUser = secretText, secretText, secretText
	return &e
}

func TestRowsShownOutsideTheRegionsOfACallSayNothingOfItsClient(t *testing.T) {
	l := openLedger(t)
	for i, e := range querytest.Entries()[:12] {
		e = telling(*e)
		e.User = []string{"", "owner"}[i%2]
		e.Status = []string{store.Failure, store.Success, store.Interrupted}[i%3]
		e.DataRegions = [][]string{nil, {"eu"}, {"eu", "us"}, residency.Nowhere()}[i%4]
		book(t, l, e)
	}
	shownIn := func(region string) query.Query {
		return query.Within(query.NewEmbedded(l, nil), func(r *query.Row) bool { return residency.Allows(r.DataRegions, region) })
	}
	for _, region := range []string{"eu", "us", "ap", ""} {
		// As another node is answered, and as this one answers with what it has of others.
		far := shownIn(region)
		for name, q := range map[string]query.Query{"here": far, "another node": overWire(far),
			"twice": query.Within(overWire(query.NewEmbedded(l, nil)), func(r *query.Row) bool { return residency.Allows(r.DataRegions, region) })} {
			page, err := q.Logs(context.Background(), query.Filter{Bodies: true})
			require.NoError(t, err)
			require.Len(t, page.Rows, 12)
			for _, r := range page.Rows {
				text, err := json.Marshal(r)
				require.NoError(t, err)
				allowed := residency.Allows(r.DataRegions, region)
				require.Equal(t, allowed, strings.Contains(string(text), secretText), "%s in %q of %v: %s", name, region, r.DataRegions, text)
				var m map[string]any
				require.NoError(t, json.Unmarshal(r.Metadata, &m))
				require.Contains(t, m, "tollgate", "figures stay")
				require.NotEmpty(t, r.APIKey)
			}
		}
	}
}
