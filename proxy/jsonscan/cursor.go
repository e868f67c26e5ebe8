package jsonscan

// Cursor reads nested values in one pass, without skipping over what it then
// enters. Like Iter it trusts its input to be valid JSON; on anything else it
// ends early.
type Cursor struct {
	raw []byte
	i   int
}

// CursorAt starts before the value raw.
func CursorAt(raw []byte) Cursor { return Cursor{raw: raw} }

// Enter steps into the object or array that comes next. When something else
// comes, it steps over that and returns false.
func (c *Cursor) Enter(open byte) bool {
	c.i = space(c.raw, c.i)
	if c.i < len(c.raw) && c.raw[c.i] == open {
		c.i++
		return true
	}
	c.Value()
	return false
}

// Key returns the next key of the object entered last, as written and without
// its quotes; false when the object has ended, and then it has been left.
func (c *Cursor) Key() ([]byte, bool) {
	if !c.More() || c.raw[c.i] != '"' {
		return nil, false
	}
	start := c.i + 1
	end := skipString(c.raw, c.i)
	c.i = space(c.raw, end)
	if c.i >= len(c.raw) {
		return nil, false
	}
	c.i++ // the colon
	return c.raw[start : end-1], true
}

// More reports whether the array or object entered last goes on; when not, it
// has been left.
func (c *Cursor) More() bool {
	c.i = space(c.raw, c.i)
	if c.i < len(c.raw) && c.raw[c.i] == ',' {
		c.i = space(c.raw, c.i+1)
	}
	if c.i >= len(c.raw) {
		return false
	}
	if c.raw[c.i] == '}' || c.raw[c.i] == ']' {
		c.i++
		return false
	}
	return true
}

// Value returns the value that comes next and steps over it.
func (c *Cursor) Value() []byte {
	start := space(c.raw, c.i)
	c.i = Skip(c.raw, start)
	return c.raw[min(start, c.i):c.i:c.i]
}
