// Package join is how a machine becomes a node of a cluster and stays one: join
// tokens, the cluster's certificate authority, admission, renewal of
// certificates, forming a cluster out of identical machines, and noticing that
// two processes run with one identity. It lets in whoever proves a token or the
// cluster's secret, and nobody else; who votes is not its matter.
package join

import (
	"errors"
	"fmt"
	"log/slog"

	"tollgate/cluster/members"
)

// Code says why a join was refused, for programs. The codes of package members
// are among them.
type Code string

// The refusals that are not about the membership itself.
const (
	CodeOtherCluster Code = "other_cluster" // token, fingerprint or data directory of another cluster
	CodeGeneration   Code = "generation"    // the cluster was recovered since
	CodeProof        Code = "proof"         // the secret is not the one
	CodeTooMany      Code = "too_many"      // failures from one address
	CodeAlive        Code = "alive"         // the node id lives elsewhere
	CodeForming      Code = "forming"       // no cluster to join yet
	CodeNoQuorum     Code = "no_quorum"
	CodeBadRequest   Code = "bad_request"
	CodeExpect       Code = "expect" // machines that are to form a cluster disagree on how many
)

// Refusal is why a node was not let in.
type Refusal struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the sentence.
func (r *Refusal) Error() string { return r.Message }

// Retry reports whether the same request may succeed in a moment.
func (r *Refusal) Retry() bool { return r.Code == CodeForming || r.Code == CodeNoQuorum }

// elsewhere reports whether another address may answer differently.
func (r *Refusal) elsewhere() bool { return r.Retry() || r.Code == CodeOtherCluster }

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// refused carries a refusal of the membership over.
func refused(r members.Result) *Refusal {
	return &Refusal{Code: Code(r.Refused), Message: r.Message}
}

// ErrUnproven proves that whoever answered does not know the secret: nothing it
// said counts.
var ErrUnproven = errors.New("whoever answers there does not know the cluster's secret")

// RawKey is an opened gossip key.
type RawKey struct {
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

// Welcome is all that a new node gets.
type Welcome struct {
	ClusterID     string         `json:"cluster_id"`
	Generation    uint64         `json:"generation"`
	Node          members.Node   `json:"node"` // as admitted
	Cert          string         `json:"cert"` // PEM, of the node
	CA            string         `json:"ca"`   // PEM
	Keys          []RawKey       `json:"keys"`
	Primary       string         `json:"primary"`
	KEK           string         `json:"kek,omitempty"`
	MasterKeyHash string         `json:"master_key_hash,omitempty"`
	Members       []members.Node `json:"members"`
	Feature       uint32         `json:"feature"`
	StateIndex    uint64         `json:"state_index"` // a node is ready when it has applied this much
	ConfigHash    string         `json:"config_hash,omitempty"`
}

// String keeps the keys out of logs and messages.
func (w *Welcome) String() string {
	return fmt.Sprintf("welcome of node %s to cluster %s", w.Node.ID, w.ClusterID)
}

// LogValue keeps the keys out of logs.
func (w *Welcome) LogValue() slog.Value { return slog.StringValue(w.String()) }
