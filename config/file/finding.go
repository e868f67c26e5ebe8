package file

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Level says what a finding stops.
type Level uint8

// The levels: nothing, one model_list entry, the whole file.
const (
	Warning Level = iota
	SkippedEntry
	Fault
)

// Finding is one thing that is wrong or noteworthy, with its place.
type Finding struct {
	File    string
	Line    int // 0: the file as a whole
	Col     int
	Path    string // as in router_settings.fallbacks[0]
	Problem string
	Hint    string // how to mend it
	Level   Level
}

// Error is "file:line:col: path: what is wrong; how to mend".
func (f Finding) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Col)
	}
	b.WriteString(": ")
	if f.Path != "" {
		const most = 160
		if len(f.Path) > most {
			b.WriteString(strings.ToValidUTF8(f.Path[:most], "") + "…")
		} else {
			b.WriteString(f.Path)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Hint != "" {
		b.WriteString("; ")
		b.WriteString(f.Hint)
	}
	return b.String()
}

// String is the same as Error: warnings are findings too.
func (f Finding) String() string { return f.Error() }

// Findings is every fault of a refused file.
type Findings []Finding

// Error has one line for each fault.
func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func (fs Findings) sort() {
	sort.SliceStable(fs, func(i, j int) bool {
		if fs[i].File != fs[j].File {
			return fs[i].File < fs[j].File
		}
		if fs[i].Line != fs[j].Line {
			return fs[i].Line < fs[j].Line
		}
		return fs[i].Col < fs[j].Col
	})
}

// sink collects findings in the order they were met.
type sink struct{ found []Finding }

func (s *sink) add(l Level, v *value, path, problem, hint string) {
	s.found = append(s.found, Finding{File: v.file, Line: v.line, Col: v.col, Path: path, Problem: problem, Hint: hint, Level: l})
}

func (s *sink) fault(v *value, path, problem, hint string) { s.add(Fault, v, path, problem, hint) }

func (s *sink) warn(v *value, path, problem, hint string) { s.add(Warning, v, path, problem, hint) }

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// quote shows foreign text in a finding: short, on one line.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
