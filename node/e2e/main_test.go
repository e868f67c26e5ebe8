package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestMain says at the very end once more what has failed, and nothing else: the
// nodes' logs are long, and of a long log people often see the end only.
func TestMain(m *testing.M) {
	os.Exit(summed(m.Run))
}

// summed runs tests, passes on what they print, and sums up the failures.
func summed(run func() int) int {
	out := os.Stdout
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintf(os.Stderr, "no summary of failures: %v\n", err)
		return run()
	}
	failures := make(chan []string, 1)
	go func() { failures <- sift(r, out) }()
	os.Stdout = w
	code := run()
	os.Stdout = out
	_ = w.Close() // what it is told is that the other end has gone, and then nobody reads
	said := <-failures
	if code != 0 && len(said) > 0 {
		fmt.Fprintf(out, "\nWhat failed, without the logs:\n%s\n", strings.Join(said, "\n"))
	}
	return code
}

var (
	verdictLine = regexp.MustCompile(`^\s*--- (FAIL|PASS|SKIP): (\S+)`)
	turnLine    = regexp.MustCompile(`^\x16?=== (?:RUN|PAUSE|CONT|NAME)\s+(\S+)`)
	saidLine    = regexp.MustCompile(`^\s+\w+_test\.go:\d+: `)
)

// sift copies what tests print and returns the verdicts of those that failed,
// each with the lines that its assertions have said.
func sift(from io.Reader, to io.Writer) []string {
	said := map[string][]string{} // by test: with -v a test speaks before its verdict
	var failed, order []string
	current := ""
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(to, line) // nobody could be told
		text := strings.TrimRight(line, "\n")
		if m := turnLine.FindStringSubmatch(text); m != nil {
			current = m[1]
		} else if m := verdictLine.FindStringSubmatch(text); m != nil {
			current = m[2]
			if m[1] == "FAIL" {
				failed = append(failed, current)
			}
		} else if saidLine.MatchString(text) && !strings.Contains(text, logOfNode) {
			said[current] = append(said[current], shortened(text, 600))
		}
		if err != nil {
			break
		}
	}
	for _, name := range failed {
		order = append(order, "--- FAIL: "+name)
		order = append(order, said[name]...)
	}
	return order
}

func shortened(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
