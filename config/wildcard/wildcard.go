// Package wildcard matches model names against patterns such as "openai/*".
// Every star captures what it stood for, so that the name can be rewritten. It
// knows nothing of groups or providers.
package wildcard

import "strings"

// Is reports whether the name holds a star.
func Is(name string) bool { return strings.IndexByte(name, '*') >= 0 }

// Match reports whether the whole name fits the pattern. Stars stand for any
// text, also none; the leftmost takes as much as it can.
func Match(pattern, name string) bool {
	_, ok := match(pattern, name, false)
	return ok
}

// Capture is Match with what the stars stood for, from left to right.
func Capture(pattern, name string) ([]string, bool) { return match(pattern, name, true) }

func match(pattern, name string, keep bool) ([]string, bool) {
	first := strings.IndexByte(pattern, '*')
	if first < 0 {
		return nil, pattern == name
	}
	last := strings.LastIndexByte(pattern, '*')
	head, tail := pattern[:first], pattern[last+1:]
	if len(name) < len(head)+len(tail) || !strings.HasPrefix(name, head) || !strings.HasSuffix(name, tail) {
		return nil, false
	}
	rest := name[len(head) : len(name)-len(tail)]
	// Placing the inner parts from the right leaves the leftmost star the most.
	var got []string
	for middle := pattern[first:last]; middle != ""; {
		star := strings.LastIndexByte(middle, '*')
		i := strings.LastIndex(rest, middle[star+1:])
		if i < 0 {
			return nil, false
		}
		if keep {
			got = append(got, rest[i+len(middle)-star-1:])
		}
		rest, middle = rest[:i], middle[:star]
	}
	if !keep {
		return nil, true
	}
	got = append(got, rest)
	for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
		got[i], got[j] = got[j], got[i]
	}
	return got, true
}

// Fill puts captures into the stars of a template from left to right. Without
// stars the template is the answer. With more captures than stars nothing
// sensible can be filled in, and the second result is false.
func Fill(template string, captures []string) (string, bool) {
	stars := strings.Count(template, "*")
	if stars == 0 {
		return template, true
	}
	if len(captures) > stars {
		return "", false
	}
	var b strings.Builder
	for _, c := range captures {
		before, after, _ := strings.Cut(template, "*")
		b.WriteString(before)
		b.WriteString(c)
		template = after
	}
	b.WriteString(template)
	return b.String(), true
}

// Special counts what is neither letter nor digit: of two patterns of the same
// length the more special one goes first.
func Special(pattern string) int {
	n := 0
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			n++
		}
	}
	return n
}
