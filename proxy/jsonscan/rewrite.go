package jsonscan

// Edit gives one top-level member a new raw value, or takes it away when Value
// is nil.
type Edit struct {
	Key   string
	Value []byte
}

// Rewrite appends the object to dst with some members replaced, removed or
// added at the end, in the order of edits. Every byte of what stays (key
// order, white space, the form of numbers) is the source's. An edit wins over
// drop, a later edit over an earlier one of the same key; drop may be nil. dst
// must not overlap the source.
func (o *Object) Rewrite(dst []byte, edits []Edit, drop func(key []byte) bool) []byte {
	c := copier{dst: dst, src: o.src}
	last := o.open + 1
	if len(o.fields) == 0 {
		c.keep(0, last)
	} else {
		c.keep(0, o.fields[0].keyStart)
		last = o.fields[len(o.fields)-1].valEnd
	}
	var met uint64 // edits whose member was there; those beyond 64 ask Has
	kept := 0
	for i := range o.fields {
		f := &o.fields[i]
		e := editOf(edits, string(f.Key))
		if e >= 0 && e < 64 {
			met |= 1 << e
		}
		if e >= 0 && edits[e].Value == nil || e < 0 && drop != nil && drop(f.Key) {
			continue
		}
		if kept++; kept > 1 {
			c.keep(o.fields[i-1].valEnd, f.keyStart)
		}
		if e < 0 {
			c.keep(f.keyStart, f.valEnd)
			continue
		}
		c.keep(f.keyStart, f.valStart)
		c.put(edits[e].Value)
	}
	for e := range edits {
		there := e < 64 && met&(1<<e) != 0 || e >= 64 && o.Has(edits[e].Key)
		if there || edits[e].Value == nil || editOf(edits, edits[e].Key) != e {
			continue
		}
		c.flush()
		if kept++; kept > 1 {
			c.dst = append(c.dst, ',')
		}
		c.dst = AppendQuoted(c.dst, edits[e].Key)
		c.dst = append(c.dst, ':')
		c.dst = append(c.dst, edits[e].Value...)
	}
	c.keep(last, len(o.src))
	c.flush()
	return c.dst
}

// editOf finds the edit for a key, -1 when there is none.
func editOf(edits []Edit, key string) int {
	for i := len(edits) - 1; i >= 0; i-- {
		if edits[i].Key == key {
			return i
		}
	}
	return -1
}

// copier joins neighbouring pieces of the source, so that an object of which
// one member changes is copied in three pieces.
type copier struct {
	dst, src []byte
	from, to int
}

func (c *copier) keep(from, to int) {
	if from != c.to {
		c.flush()
		c.from = from
	}
	c.to = to
}

func (c *copier) flush() {
	c.dst = append(c.dst, c.src[c.from:c.to]...)
	c.from = c.to
}

func (c *copier) put(raw []byte) {
	c.flush()
	c.dst = append(c.dst, raw...)
	c.from, c.to = 0, 0 // nothing pending; no later piece starts at 0
}
