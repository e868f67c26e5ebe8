package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// WithDotEnv lays the variables of a .env file under env: what the process
// already has wins. The file may be missing. LITELLM_MODE=PRODUCTION leaves it
// unread.
func WithDotEnv(path string, env Env) (Env, error) {
	if mode, _ := env("LITELLM_MODE"); strings.EqualFold(mode, "PRODUCTION") {
		return env, nil
	}
	vars, err := LoadDotEnv(path)
	if errors.Is(err, fs.ErrNotExist) {
		return env, nil
	}
	if err != nil {
		return nil, err
	}
	return func(name string) (string, bool) {
		if s, ok := env(name); ok {
			return s, true
		}
		s, ok := vars[name]
		return s, ok
	}, nil
}

// LoadDotEnv reads a .env file.
func LoadDotEnv(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read environment file: %w", err)
	}
	return ParseDotEnv(path, data)
}

// ParseDotEnv reads lines of NAME=value: an export before the name, comments,
// values in single quotes (as they are) or double quotes (with escapes, also
// over several lines), and ${NAME} of earlier lines outside single quotes.
// The error is a Findings with every bad line.
func ParseDotEnv(name string, data []byte) (map[string]string, error) {
	text := strings.TrimPrefix(strings.ReplaceAll(string(data), "\r\n", "\n"), "\ufeff")
	vars := map[string]string{}
	var bad Findings
	for line := 1; text != ""; line++ {
		one, rest, _ := strings.Cut(text, "\n")
		text = rest
		one = strings.TrimSpace(one)
		if one == "" || one[0] == '#' {
			continue
		}
		complain := func(problem, hint string) {
			bad = append(bad, Finding{File: name, Line: line, Col: 1, Level: Fault, Problem: problem, Hint: hint})
		}
		if s, ok := strings.CutPrefix(one, "export "); ok {
			one = strings.TrimSpace(s)
		}
		key, val, found := strings.Cut(one, "=")
		key = strings.TrimSpace(key)
		if !found || !validName(key) {
			complain("want NAME=value", "put # before a comment")
			continue
		}
		val = strings.TrimSpace(val)
		if val == "" || (val[0] != '"' && val[0] != '\'') {
			vars[key] = expand(stripComment(val), vars)
			continue
		}
		quote := val[0]
		body := val[1:]
		end := closing(body, quote)
		start := line
		for end < 0 && text != "" { // the value goes on in the next line
			next, after, _ := strings.Cut(text, "\n")
			body += "\n" + next
			text = after
			line++
			end = closing(body, quote)
		}
		if end < 0 {
			bad = append(bad, Finding{File: name, Line: start, Col: 1, Level: Fault, Problem: "the value of " + key + " has no closing quote", Hint: "close it with " + string(quote)})
			break
		}
		if tail := strings.TrimSpace(body[end+1:]); tail != "" && tail[0] != '#' {
			complain("text after the closing quote of "+key, "put the whole value into quotes")
			continue
		}
		if quote == '\'' {
			vars[key] = strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(body[:end])
			continue
		}
		vars[key] = expand(unescape(body[:end]), vars)
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return vars, nil
}

func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
		if !letter && (i == 0 || ((c < '0' || c > '9') && c != '.' && c != '-')) {
			return false
		}
	}
	return s != ""
}

// stripComment cuts an unquoted value at a # that follows a space.
func stripComment(s string) string {
	if s != "" && s[0] == '#' {
		return ""
	}
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t') {
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

// closing finds the quote that ends the text, skipping escaped ones.
func closing(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return i
		}
	}
	return -1
}

func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\'`, `'`, `\$`, `$`).Replace(s)
}

// expand puts in ${NAME} and ${NAME:-default} of the lines above. A name that
// stands in no line above stays as it is.
func expand(s string, vars map[string]string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			break
		}
		name, dflt, hasDefault := strings.Cut(s[i+2:i+end], ":-")
		b.WriteString(s[:i])
		switch val, ok := vars[name]; {
		case ok:
			b.WriteString(val)
		case hasDefault:
			b.WriteString(dflt)
		default:
			b.WriteString(s[i : i+end+1])
		}
		s = s[i+end+1:]
	}
	b.WriteString(s)
	return b.String()
}
