// Package members is the replicated list of who belongs to the cluster: nodes,
// join tokens, the cluster's certificate authority, the gossip keys, the
// recovery generation and the feature level. It is a state machine beside the
// others: everything follows from its commands. It talks to nobody.
package members

import (
	"encoding/json"
	"time"
)

// Version is the payload version of Membership commands.
const Version = 1

// Op says what a command does.
type Op string

// The operations.
const (
	// OpFound brings the certificate authority, the first gossip key, the feature
	// level and the founder. It is refused when there is an authority.
	OpFound Op = "found"
	// OpAdmit takes a node in, using up one use of a token in the same step.
	OpAdmit Op = "admit"
	// OpStart registers a start of a node: incarnation, addresses, features. A
	// start that is not newer than the last one registered is refused as stale.
	OpStart Op = "start"
	// OpRemove takes a node out: it left, or was forgotten.
	OpRemove Op = "remove"
	// OpToken makes a join token, OpRevoke takes one back.
	OpToken  Op = "token"
	OpRevoke Op = "revoke"
	// OpKeyInstall, OpKeyUse and OpKeyRemove rotate the gossip key, each step
	// committed before the next.
	OpKeyInstall Op = "key_install"
	OpKeyUse     Op = "key_use"
	OpKeyRemove  Op = "key_remove"
	// OpFeature raises the feature level.
	OpFeature Op = "feature"
	// OpReseal replaces sealed values by the same under another data key.
	OpReseal Op = "reseal"
	// OpRenew records the serial of a node's newest certificate.
	OpRenew Op = "renew"
)

// Command is the payload, as JSON. Which fields count follows from Op.
type Command struct {
	Op      Op         `json:"op"`
	Node    *Node      `json:"node,omitempty"`     // found, admit, start, renew
	ID      string     `json:"id,omitempty"`       // remove, revoke: what; key_use, key_remove: which key
	TokenID string     `json:"token_id,omitempty"` // admit: the token used, "" when the cluster secret vouched
	Token   *Token     `json:"token,omitempty"`
	CA      *CA        `json:"ca,omitempty"`
	Key     *GossipKey `json:"key,omitempty"`     // found, key_install
	Feature uint32     `json:"feature,omitempty"` // found, feature
	Sealed  []Sealed   `json:"sealed,omitempty"`  // reseal
	// Replaces makes an admission take over the id of a member that is gone and
	// has lost its key: the KeySum that is registered, or NoKey. Without it an id
	// is admitted once.
	Replaces string `json:"replaces,omitempty"`
	Why      string `json:"why,omitempty"` // remove: left or forgotten
}

// Sealed is one value of the membership sealed anew. Old tells which one: what
// was replaced meanwhile is left alone.
type Sealed struct {
	Entity string `json:"entity"` // ca, gossip/ID, token/ID
	Old    string `json:"old"`
	New    string `json:"new"`
}

// NoKey in Replaces stands for a member that has no key registered.
const NoKey = "none"

// Role is what a node is for.
type Role string

// The roles. A witness votes and serves no requests.
const (
	RoleNode    Role = "node"
	RoleWitness Role = "witness"
)

// Node is one member of the cluster as all have agreed.
type Node struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Region      string    `json:"region,omitempty"`
	Zone        string    `json:"zone,omitempty"`
	Role        Role      `json:"role"`
	Addr        string    `json:"addr"`          // HOST:PORT of its cluster port
	API         string    `json:"api,omitempty"` // HOST:PORT of its API, for people
	Build       string    `json:"build,omitempty"`
	Incarnation uint64    `json:"incarnation"` // of the last registered start
	Nonce       string    `json:"nonce"`       // random, of that start: tells a copy from the original
	FeatureMin  uint32    `json:"feature_min"`
	FeatureMax  uint32    `json:"feature_max"`
	KeySum      string    `json:"key_sum,omitempty"` // SHA-256 of its public key, hex
	Serial      string    `json:"serial,omitempty"`  // of its newest certificate
	NotAfter    time.Time `json:"not_after,omitzero"`
	TokenID     string    `json:"token_id,omitempty"`   // that its admission used: makes a retry harmless
	AdmittedAt  time.Time `json:"admitted_at,omitzero"` // by the state's clock
	StartedAt   time.Time `json:"started_at,omitzero"`
}

// Token is an invitation. Only what the secret hashes to is kept, sealed.
type Token struct {
	ID        string    `json:"id"`
	SealedKey string    `json:"sealed_key"` // K = SHA-256(secret), sealed: entity "token/ID", field "key"
	Role      Role      `json:"role"`
	Uses      int       `json:"uses"` // left
	Expires   time.Time `json:"expires"`
	By        string    `json:"by,omitempty"`
	Revoked   bool      `json:"revoked,omitempty"` // kept a while, so that its use is told what happened
}

// CA is the cluster's certificate authority.
type CA struct {
	Cert      string `json:"cert"`       // PEM
	SealedKey string `json:"sealed_key"` // PEM of PKCS#8, sealed: entity "ca", field "key"
}

// GossipKey is one key of the gossip ring.
type GossipKey struct {
	ID     string `json:"id"`     // first 8 hex digits of its SHA-256
	Sealed string `json:"sealed"` // base64 of 32 bytes, sealed: entity "gossip/ID", field "key"
}

// Code says why a command was refused, for programs.
type Code string

// The refusals.
const (
	CodeExists       Code = "exists"
	CodeUnknownNode  Code = "unknown_node"
	CodeStaleStart   Code = "stale_start" // a start with the same or a later incarnation is registered
	CodeTokenUnknown Code = "token_unknown"
	CodeTokenUsed    Code = "token_used"
	CodeTokenExpired Code = "token_expired"
	CodeTokenRevoked Code = "token_revoked"
	CodeRemoved      Code = "removed" // the node left or was forgotten; its id is spent
	CodeWrongRole    Code = "wrong_role"
	CodeKeyInUse     Code = "key_in_use"
	CodeUnknownKey   Code = "unknown_key"
	CodeBadCommand   Code = "bad_command"
	CodeFeature      Code = "feature"
)

// Result is the answer to a command.
type Result struct {
	Index   uint64 `json:"index"`
	Refused Code   `json:"refused,omitempty"`
	Message string `json:"message,omitempty"` // one sentence: what, why and what to do
	Node    *Node  `json:"node,omitempty"`    // admit, start: as stored
}

// Encode makes the payload of a command.
func (c *Command) Encode() []byte {
	data, err := json.Marshal(c)
	if err != nil { // plain data
		panic("encode membership command: " + err.Error())
	}
	return data
}
