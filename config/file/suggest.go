package file

import "strings"

// suggestion says where an unknown key may have been meant to stand.
func suggestion(name, path string, known []string) string {
	if near := nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	for _, s := range sectionNames {
		if s.path != path && contains(s.known, name) {
			return "this key belongs under " + s.path
		}
	}
	return "it has no effect"
}

// nearest is the known word that a slip of the fingers away from s, or "".
func nearest(s string, words []string) string {
	s = strings.ToLower(s)
	if s == "" || len(s) > 64 {
		return ""
	}
	limit := 1 + len(s)/6
	if limit > 3 {
		limit = 3
	}
	best := ""
	for _, w := range words {
		if abs(len(w)-len(s)) > limit {
			continue
		}
		if d := distance(s, strings.ToLower(w)); d <= limit && d < len(s)/2+1 {
			best, limit = w, d-1
			if d == 0 {
				return w
			}
		}
	}
	return best
}

// distance counts single-letter edits and swaps of neighbours.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
