package health

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const someNode = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

func someSummaries(n int) (out []Summary) {
	for i := range n {
		out = append(out, Summary{ID: ID(i + 1), OK: 10, Limited: 1, Server: 2, Timeouts: 3, Connects: 4, Latency: 1500 * time.Millisecond, FirstToken: 120 * time.Millisecond, Samples: 60, LastOK: 2 * time.Second, Bad: i%2 == 1, Opened: time.Duration(i%2) * time.Second})
	}
	return out
}

func someFigures(n int) (out []Figures) {
	for i := range n {
		out = append(out, Figures{ID: ID(i + 1), PerToken: 20 * time.Millisecond, Samples: 30, Requests: 1000, Tokens: 1 << 40, InFlight: 7, Age: 31 * time.Second})
	}
	return out
}

func someNotices() []Notice {
	return []Notice{
		{ID: 1, Reason: Quota, Event: Event{Origin: 9, Inc: 4, N: 300}, Remaining: 59 * time.Second},
		{Stop: true, ID: 2, Reason: RateLimited, Event: Event{Origin: 1 << 63, Inc: 1, N: 1}},
	}
}

func encodeNotices(list []Notice) (b []byte) {
	for i := range list {
		b = list[i].append(b)
	}
	return b
}

// golden compares with what an earlier release sent. A changed file means that
// nodes of two releases no longer understand each other.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Equal(t, want, got)
	return want
}

func TestFormsAreThoseOfTheFirstRelease(t *testing.T) {
	r := report{node: someNode, inc: 7, seq: 1 << 40, summaries: someSummaries(3)}
	r.summaries[0].LastOK = -1
	bodies, err := encodeReports(r, 1300)
	require.NoError(t, err)
	require.Len(t, bodies, 1)
	back, err := decodeReport(golden(t, "report-v1.golden", bodies[0]))
	require.NoError(t, err)
	require.Equal(t, r, back)

	notices, err := decodeNotices(golden(t, "notices-v1.golden", encodeNotices(someNotices())))
	require.NoError(t, err)
	require.Equal(t, someNotices(), notices)
}

func TestFiguresHaveTheFormOfTheSecondRelease(t *testing.T) {
	for name, r := range map[string]report{
		"figures-v2.golden":        {figures: someFigures(2)},
		"figures-passed-v2.golden": {node: someNode, inc: 7, seq: 9, figures: someFigures(2)},
	} {
		bodies, err := encodeReports(r, 1300)
		require.NoError(t, err)
		require.Len(t, bodies, 1)
		back, err := decodeReport(golden(t, name, bodies[0]))
		require.NoError(t, err)
		require.Equal(t, r, back)
	}
	// A later release may say more of each deployment.
	longer := append([]byte{figuresDirect}, someFigures(1)[0].append(nil)...)
	longer[1] += 3
	longer = append(longer, 1, 2, 3)
	back, err := decodeReport(longer)
	require.NoError(t, err)
	require.Equal(t, someFigures(1), back.figures)
}

// What nodes of the first release understand is what they get: summaries have
// bodies of their own.
func TestFiguresAndSummariesDoNotShareABody(t *testing.T) {
	bodies, err := encodeReports(report{summaries: someSummaries(1), figures: someFigures(1)}, 1300)
	require.NoError(t, err)
	require.Len(t, bodies, 2)
	require.Equal(t, byte(reportDirect), bodies[0][0])
	require.Equal(t, byte(figuresDirect), bodies[1][0])
}

func TestLongReportsAreSplitAndWhole(t *testing.T) {
	for _, node := range []string{"", someNode} {
		r := report{node: node, summaries: someSummaries(500)}
		bodies, err := encodeReports(r, 1300)
		require.NoError(t, err)
		require.Greater(t, len(bodies), 5)
		var all []Summary
		for _, b := range bodies {
			require.LessOrEqual(t, len(b), 1300)
			part, err := decodeReport(b)
			require.NoError(t, err)
			require.Equal(t, node, part.node)
			all = append(all, part.summaries...)
		}
		require.Equal(t, r.summaries, all)
	}
	none, err := encodeReports(report{}, 1300)
	require.NoError(t, err)
	require.Empty(t, none)
}
