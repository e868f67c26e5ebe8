package members

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is the membership as of one moment. It never changes once published.
type State struct {
	// Generation counts recoveries from lost quorum. Nodes of an older one hold a
	// history that was given up.
	Generation uint64
	CA         *CA // nil until the cluster is founded
	// Keys are the gossip keys, the oldest first; Primary is the one to send with.
	Keys    []GossipKey
	Primary string
	// Feature is the level up to which all members speak; 0 until founded.
	Feature uint32
	// At is the state's clock at the last command.
	At time.Time

	nodes   map[string]*Node
	tokens  map[string]*Token
	removed []Removal
}

// Removal remembers a node that was taken out.
type Removal struct {
	ID   string    `json:"id"`
	Name string    `json:"name,omitempty"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// removedKept bounds the memory of removed nodes. A removed node that comes
// back after so many others is then merely unknown.
const removedKept = 1000

func newState() *State {
	return &State{nodes: map[string]*Node{}, tokens: map[string]*Token{}}
}

// clone copies what may change. Nodes and tokens are replaced, never written
// to, so their pointers are shared.
func (s *State) clone() *State {
	c := *s
	c.Keys = slices.Clone(s.Keys)
	c.nodes = maps.Clone(s.nodes)
	c.tokens = maps.Clone(s.tokens)
	c.removed = slices.Clone(s.removed)
	return &c
}

// Node is the member with the id.
func (s *State) Node(id string) (Node, bool) {
	if n, ok := s.nodes[id]; ok {
		return *n, true
	}
	return Node{}, false
}

// Nodes are all members, sorted by id.
func (s *State) Nodes() []Node {
	return sorted(s.nodes, func(n *Node) string { return n.ID })
}

// Len is how many members there are.
func (s *State) Len() int { return len(s.nodes) }

// Token is the token with the id, also one that is used up, revoked or expired
// a short time ago.
func (s *State) Token(id string) (Token, bool) {
	if t, ok := s.tokens[id]; ok {
		return *t, true
	}
	return Token{}, false
}

// Tokens are the tokens with uses left that nobody has revoked, sorted by id.
// Expired ones are among them until the next command; the reader has a clock.
func (s *State) Tokens() []Token {
	all := sorted(s.tokens, func(t *Token) string { return t.ID })
	return slices.DeleteFunc(all, func(t Token) bool { return t.Revoked || t.Uses < 1 })
}

// Removed tells why and when a node was taken out; ok is false for an id that
// is a member, was never one, or left before the last 1,000 that did.
func (s *State) Removed(id string) (why string, at time.Time, ok bool) {
	for _, r := range slices.Backward(s.removed) {
		if r.ID == id {
			return r.Why, r.At, true
		}
	}
	return "", time.Time{}, false
}

// Removals are the nodes taken out, the latest last.
func (s *State) Removals() []Removal { return slices.Clone(s.removed) }

// Key is the gossip key with the id.
func (s *State) Key(id string) (GossipKey, bool) {
	i := slices.IndexFunc(s.Keys, func(k GossipKey) bool { return k.ID == id })
	if i < 0 {
		return GossipKey{}, false
	}
	return s.Keys[i], true
}

func sorted[T any](m map[string]*T, id func(*T) string) []T {
	out := make([]T, 0, len(m))
	for _, v := range m {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b T) int { return cmp.Compare(id(&a), id(&b)) })
	return out
}
