package gossip

import "strconv"

// Kind is what a message is about. From 128 on a kind is relayed: whoever hears
// such a message first passes it on, also when the kind is unknown to it, so
// that a newer node's events cross older ones.
type Kind uint8

// The kinds. Status and leaving are this package's own.
const (
	KindStatus   Kind = 1 // figures of a node, each second to all
	KindCounts   Kind = 2 // usage of limits, to those who stand in for their owners
	KindUpstream Kind = 3 // what a node saw of the providers, each second
	KindCooldown Kind = 128 + 1
	KindRevoke   Kind = 128 + 2 // the state has reached an index worth catching up to
	KindLeaving  Kind = 128 + 3 // the sender goes in order
)

// Relayed tells whether those who hear a message of the kind pass it on.
func (k Kind) Relayed() bool { return k >= 128 }

// String names the kind, for logs and labels.
func (k Kind) String() string {
	switch k {
	case KindStatus:
		return "status"
	case KindCounts:
		return "counts"
	case KindUpstream:
		return "upstream"
	case KindCooldown:
		return "cooldown"
	case KindRevoke:
		return "revoke"
	case KindLeaving:
		return "leaving"
	}
	return "kind_" + strconv.Itoa(int(k))
}
