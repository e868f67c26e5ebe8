package cache

import "tollgate/proxy/jsonscan"

// node is a value that pieces add up to: a text, an object, a list, or whatever
// was said once.
type node struct {
	name    string
	raw     []byte // a value that was said whole
	text    []byte // joined, not quoted
	isText  bool
	members []*node // of an object
	isList  bool
	items   []*node // of a list
	index   int64   // of an item that has one, else -1
}

// joins reports whether pieces of a text of this name add up. Others are said
// whole, some servers repeat them in every piece.
func joins(name string) bool {
	switch name {
	case "content", "reasoning_content", "reasoning", "refusal", "arguments", "text", "thinking", "partial_json", "input":
		return true
	}
	return false
}

func (n *node) member(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m
		}
	}
	m := &node{name: name, index: -1}
	n.members = append(n.members, m)
	return m
}

func (n *node) has(name string) bool {
	for _, m := range n.members {
		if m.name == name {
			return !m.empty()
		}
	}
	return false
}

// said is a member that was said whole; nil when there is none.
func (n *node) said(name string) []byte {
	for _, m := range n.members {
		if m.name == name {
			return m.raw
		}
	}
	return nil
}

func (n *node) empty() bool {
	return n.raw == nil && !n.isText && !n.isList && len(n.members) == 0
}

// merge adds the members of a raw object. It is false when something is said that
// does not fit what was said before.
func (n *node) merge(raw []byte) bool {
	for it := jsonscan.Walk(raw); ; {
		k, v, ok := it.Member()
		if !ok {
			return true
		}
		if !n.mergeMember(string(jsonscan.Name(k)), v) {
			return false
		}
	}
}

func (n *node) mergeMember(name string, v []byte) bool {
	if name == "index" || jsonscan.IsNull(v) {
		return true
	}
	m := n.member(name)
	switch v[0] {
	case '"':
		return m.say(v)
	case '{':
		if m.raw != nil || m.isText || m.isList {
			return false
		}
		if string(v) == "{}" && len(m.members) == 0 {
			m.raw = v
			return true
		}
		return m.merge(v)
	case '[':
		return m.extend(v)
	}
	if m.isText || m.isList || len(m.members) > 0 {
		return false
	}
	m.raw = v
	return true
}

// say takes a text: a piece of one, or one that is said whole.
func (n *node) say(v []byte) bool {
	if n.isList || len(n.members) > 0 {
		return false
	}
	if joins(n.name) && n.raw == nil {
		n.isText = true
		n.text, _ = jsonscan.AppendString(n.text, v)
		return true
	}
	if string(v) == `""` && n.raw != nil || string(n.raw) == string(v) {
		return true
	}
	if n.raw != nil && string(n.raw) != `""` {
		return false
	}
	n.raw = v
	return true
}

// extend adds the elements of a list: those with an index to the one of the same,
// the others behind.
func (n *node) extend(raw []byte) bool {
	if n.raw != nil || n.isText || len(n.members) > 0 {
		return false
	}
	n.isList = true
	for it := jsonscan.Walk(raw); ; {
		v, ok := it.Element()
		if !ok {
			return true
		}
		if !jsonscan.IsObject(v) {
			n.items = append(n.items, &node{raw: v, index: -1})
			continue
		}
		item := n.itemFor(v)
		if !item.merge(v) {
			return false
		}
		if item.empty() {
			item.raw = v
		}
	}
}

func (n *node) itemFor(v []byte) *node {
	index, ok := jsonscan.Int(jsonscan.Find(v, "index"))
	if ok {
		for _, item := range n.items {
			if item.index == index {
				return item
			}
		}
	} else {
		index = -1
		// A thought goes on until it is signed.
		if last := len(n.items) - 1; n.name == "thinking_blocks" && last >= 0 && string(jsonscan.Find(v, "type")) == `"thinking"` {
			if item := n.items[last]; string(item.said("type")) == `"thinking"` && len(item.said("signature")) <= len(`""`) {
				return item
			}
		}
	}
	item := &node{index: index}
	n.items = append(n.items, item)
	return item
}

// append writes the value.
func (n *node) append(dst []byte) []byte {
	switch {
	case n.isText:
		return jsonscan.AppendQuoted(dst, string(n.text))
	case n.isList:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.append(dst)
		}
		return append(dst, ']')
	case len(n.members) > 0:
		dst = append(dst, '{')
		for i, m := range n.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.appendNamed(dst)
		}
		return append(dst, '}')
	case n.raw != nil:
		return append(dst, n.raw...)
	}
	return append(dst, "null"...)
}

// appendNamed writes the value as a member of an object.
func (n *node) appendNamed(dst []byte) []byte {
	dst = append(jsonscan.AppendQuoted(dst, n.name), ':')
	return n.append(dst)
}
