package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise is worth what its test is: each that the page names must exist.
func TestEveryGuaranteesTestExists(t *testing.T) {
	page, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\[([A-Za-z0-9]+)\]\(([^)]+_test\.go)\)`).FindAllStringSubmatch(string(page), -1)
	if len(named) < 50 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, m := range named {
		code, err := os.ReadFile(filepath.Join("../../docs", m[2]))
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		if !strings.Contains(string(code), "\nfunc "+m[1]+"(t *testing.T) {") {
			t.Errorf("%s is not in %s", m[1], m[2])
		}
	}
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "_test.go)") != strings.Contains(line, "[Test") {
			t.Errorf("a link without a test, or a test without a link: %s", line)
		}
	}
}
