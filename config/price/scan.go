package price

import (
	"bytes"
	"strconv"
)

// scanner walks a usage object once and never fails: what it cannot read it
// leaves out, because a malformed detail must not lose the counts beside it.
type scanner struct {
	b []byte
	i int
}

// maxCount is beyond any real count; what exceeds it is cut to it, so that sums
// of counts never wrap.
const maxCount = 1 << 50

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) open(bracket byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == bracket {
		s.i++
		return true
	}
	return false
}

// key steps to the next member of an object and stands at its value; false at
// the object's end and at anything that is no member.
func (s *scanner) key() ([]byte, bool) {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ',' {
		s.i++
		s.space()
	}
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		if s.i < len(s.b) && s.b[s.i] == '}' {
			s.i++
		} else {
			s.i = len(s.b)
		}
		return nil, false
	}
	k := s.text()
	s.space()
	if s.i >= len(s.b) || s.b[s.i] != ':' {
		s.i = len(s.b)
		return nil, false
	}
	s.i++
	s.space()
	return k, true
}

// element steps to the next element of an array.
func (s *scanner) element() bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ',' {
		s.i++
		s.space()
	}
	if s.i >= len(s.b) || s.b[s.i] == ']' {
		s.i++
		return false
	}
	return true
}

// text takes a string's bytes as they stand: words of usage objects hold no
// escapes. Another value is skipped and gives nothing.
func (s *scanner) text() []byte {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		s.skip()
		return nil
	}
	s.i++
	start := s.i
	for s.i < len(s.b) {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			s.i = len(s.b)
			return nil
		}
		s.i += n + 1
		slashes := 0
		for j := s.i - 2; j >= start && s.b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return s.b[start : s.i-1]
		}
	}
	return nil
}

// count takes a number, also one inside a string. Negative counts are zero.
// Anything else, null too, is not stated.
func (s *scanner) count() (int64, bool) {
	if s.i >= len(s.b) {
		return 0, false
	}
	if s.b[s.i] == '"' {
		return parseCount(s.text())
	}
	start := s.i
	s.skip()
	return parseCount(s.b[start:min(s.i, len(s.b))])
}

func parseCount(t []byte) (int64, bool) {
	if len(t) == 0 {
		return 0, false
	}
	var n int64
	for i, c := range t {
		if c < '0' || c > '9' {
			return parseOddCount(t)
		}
		if i > 17 {
			return maxCount, true
		}
		n = n*10 + int64(c-'0')
	}
	return min(n, maxCount), true
}

func parseOddCount(t []byte) (int64, bool) {
	if c := t[0]; c != '-' && (c < '0' || c > '9') || len(t) > 40 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(t), 64)
	switch {
	case err != nil && f == 0:
		return 0, false
	case f <= 0:
		return 0, true
	case f >= maxCount:
		return maxCount, true
	}
	return int64(f), true
}

// millis takes seconds, with a fraction, as milliseconds.
func (s *scanner) millis() (int64, bool) {
	start := s.i
	s.skip()
	t := bytes.Trim(s.b[start:min(s.i, len(s.b))], `"`)
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || !(f >= 0 && f < maxCount/1000) {
		return 0, false
	}
	return int64(f*1000 + 0.5), true
}

// skip passes over one value of any depth.
func (s *scanner) skip() {
	depth := 0
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case '"':
			s.text()
			if depth == 0 {
				return
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				if depth == 0 {
					s.i++
				}
				return
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return
			}
		}
		s.i++
	}
}
