package admin

import (
	"slices"
	"strings"
)

// distinct is a list without repetitions, in the order of first mention.
func distinct(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// joined shows a list in a message.
func joined(list []string) string { return strings.Join(list, ", ") }
