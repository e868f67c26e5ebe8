package jsonscan

import "bytes"

// Iter walks the members of an object or the elements of an array. It trusts
// its input: only values that Parse or ParseTop have validated may be walked.
type Iter struct {
	raw []byte
	i   int
	at  int // of the value returned last
}

// Walk starts at a raw object or array; any other value has nothing to walk.
func Walk(raw []byte) Iter {
	if len(raw) < 2 || raw[0] != '{' && raw[0] != '[' {
		return Iter{}
	}
	return Iter{raw: raw, i: 1}
}

// Member returns the next member of an object: its raw quoted key and raw value.
func (it *Iter) Member() (key, value []byte, ok bool) {
	i, ok := it.start()
	if !ok || it.raw[i] != '"' {
		return nil, nil, false
	}
	end := skipString(it.raw, i)
	key = it.raw[i:end]
	i = space(it.raw, end)
	if i >= len(it.raw) {
		return nil, nil, false
	}
	return key, it.value(space(it.raw, i+1)), true
}

// Element returns the next element of an array.
func (it *Iter) Element() (value []byte, ok bool) {
	i, ok := it.start()
	if !ok {
		return nil, false
	}
	return it.value(i), true
}

func (it *Iter) start() (int, bool) {
	i := space(it.raw, it.i)
	if i < len(it.raw) && it.raw[i] == ',' {
		i = space(it.raw, i+1)
	}
	if i >= len(it.raw)-1 {
		it.i = len(it.raw)
		return i, false
	}
	return i, true
}

func (it *Iter) value(i int) []byte {
	end := Skip(it.raw, i)
	it.i, it.at = end, min(i, end)
	return it.raw[min(i, end):end:end]
}

// Offset is where the value returned last begins in what is walked.
func (it *Iter) Offset() int { return it.at }

// Find returns the raw value of the member whose key is spelled key, nil when
// there is none. Keys written with escapes are not found: it is for answers.
func Find(raw []byte, key string) []byte {
	for it := Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return nil
		}
		if len(k) == len(key)+2 && string(k[1:len(k)-1]) == key {
			return v
		}
	}
}

// Skip returns the offset behind the valid value that starts at i.
func Skip(raw []byte, i int) int {
	if i >= len(raw) {
		return len(raw)
	}
	switch raw[i] {
	case '"':
		return skipString(raw, i)
	case '{', '[':
		depth := 0
		for i < len(raw) {
			switch raw[i] {
			case '"':
				i = skipString(raw, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(raw)
	}
	for i++; i < len(raw); { // at least one byte, so that walking always ends
		switch raw[i] {
		case ',', '}', ']', ' ', '\n', '\r', '\t':
			return i
		}
		i++
	}
	return i
}

func skipString(raw []byte, i int) int {
	// Keys are short: looking at their bytes is cheaper than a search.
	i++
	for near := min(len(raw), i+16); i < near; i++ {
		switch raw[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	for i < len(raw) {
		j := bytes.IndexByte(raw[i:], '"')
		if j < 0 {
			return len(raw)
		}
		end := i + j
		slashes := 0
		for k := end - 1; k >= i && raw[k] == '\\'; k-- {
			slashes++
		}
		i = end + 1
		if slashes%2 == 0 {
			return i
		}
	}
	return len(raw)
}
