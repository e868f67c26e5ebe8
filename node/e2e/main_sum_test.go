package e2e

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestTheSummaryHasTheFailuresAndNoLogs(t *testing.T) {
	for what, printed := range map[string]string{
		"quiet": "--- FAIL: TestA (1.00s)\n    a_test.go:7: before\n    --- FAIL: TestA/sub (0.10s)\n        a_test.go:9: wrong\n            more of it\n        node_test.go:155: log of the node, its end:\n            lines and lines\nFAIL\n",
		"verbose": "=== RUN   TestA\n=== PAUSE TestA\n=== RUN   TestB\n    b_test.go:1: fine\n=== CONT  TestA\n    a_test.go:7: before\n=== RUN   TestA/sub\n    a_test.go:9: wrong\n    node_test.go:155: log of the node, its end:\n        lines\n" +
			"--- PASS: TestB (0.00s)\n--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/sub (0.10s)\nFAIL\n",
	} {
		var copied strings.Builder
		got := sift(strings.NewReader(printed), &copied)
		for i := range got {
			got[i] = strings.TrimSpace(got[i])
		}
		want := []string{"--- FAIL: TestA", "a_test.go:7: before", "--- FAIL: TestA/sub", "a_test.go:9: wrong"}
		if !slices.Equal(got, want) || copied.String() != printed {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := sift(strings.NewReader("ok\n"), io.Discard); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
