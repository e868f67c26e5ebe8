// Package clusterapi is the operators' API: /cluster/* for proxy admins. It
// decodes, checks, and hands on to the cluster; what the operations do is not
// its matter. Everything here is also a command of the command line.
package clusterapi

import (
	"context"
	"io"
	"time"

	"tollgate/config/model"
)

// Cluster is what the API operates.
type Cluster interface {
	// Members lists every node: committed members with how they seem from here.
	Members(ctx context.Context) ([]Member, error)
	// Status is this node's view of itself and of the cluster.
	Status(ctx context.Context) (Status, error)

	CreateToken(ctx context.Context, role string, ttl time.Duration, uses int, by string) (text string, t TokenInfo, err error)
	Tokens(ctx context.Context) ([]TokenInfo, error)
	RevokeToken(ctx context.Context, id string) error

	// Drain sets or ends draining of this node; it goes on running.
	Drain(ctx context.Context, on bool) error
	// Leave drains this node, gives back what it holds, takes it out of the
	// cluster and then stops the process. It returns when that has begun.
	Leave(ctx context.Context) error
	// Forget takes out a node that is gone for good; node is its id or name.
	Forget(ctx context.Context, node string) error
	// TransferLeadership hands leadership to a voter, "" for any; it names the
	// new leader.
	TransferLeadership(ctx context.Context, to string) (leader string, err error)

	// Config is the active version, secrets masked; Version one of the history.
	Config(ctx context.Context) (*model.ConfigVersion, error)
	ConfigVersion(ctx context.Context, number uint64) (*model.ConfigVersion, error)
	ConfigHistory(ctx context.Context) ([]ConfigInfo, error)
	// ConfigRollback makes an old version the newest.
	ConfigRollback(ctx context.Context, number uint64, by string) (ConfigInfo, error)
	// ConfigDiff holds a config against the active one: this node's own file when
	// text is nil. env resolves os.environ references that the text has.
	ConfigDiff(ctx context.Context, text []byte, env map[string]string) (ConfigDiff, error)
	// ConfigApply proposes a config: this node's own file, read again, when text
	// is nil. changed is false when the cluster has just that.
	ConfigApply(ctx context.Context, text []byte, env map[string]string, by string) (v ConfigInfo, changed bool, err error)

	// RotateSecrets makes newKEK the key that wraps the data keys on every node
	// and seals all secrets anew; the former key opens until FinishRotation.
	RotateSecrets(ctx context.Context, newKEK string) (Rotation, error)
	FinishRotation(ctx context.Context) (Rotation, error)
	Rotation(ctx context.Context) (Rotation, error)
	// RotateGossipKey installs, uses and removes, each when all nodes have
	// followed; progress is told as it goes.
	RotateGossipKey(ctx context.Context, progress func(step string)) error

	// StartImport begins to take over what LiteLLM has in the PostgreSQL database
	// at from, and returns at once; Import tells how far it has come.
	StartImport(ctx context.Context, from, by string) (Import, error)
	Import(ctx context.Context) (Import, error)

	// Backup writes a snapshot of the replicated state, secrets sealed.
	Backup(ctx context.Context, w io.Writer) error
}

// Member is one row of members.
type Member struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Region        string     `json:"region"`
	Zone          string     `json:"zone,omitempty"`
	Role          string     `json:"role"`           // node, witness
	Raft          string     `json:"raft"`           // leader, voter, non-voter, none
	State         string     `json:"state"`          // alive, draining, dead, left, unknown
	Since         *time.Time `json:"since,omitzero"` // of the state
	Addr          string     `json:"addr"`
	API           string     `json:"api,omitempty"`
	Version       string     `json:"version,omitempty"`
	Incarnation   uint64     `json:"incarnation"`
	Applied       uint64     `json:"applied,omitempty"`
	InFlight      int64      `json:"in_flight"`
	ConfigHash    string     `json:"config_hash,omitempty"`
	RTTMillis     float64    `json:"rtt_ms,omitempty"`
	CertExpires   *time.Time `json:"cert_expires,omitzero"`
	LedgerBacklog int64      `json:"ledger_backlog,omitempty"`
	DiskFreeBytes int64      `json:"disk_free_bytes,omitempty"`
	Self          bool       `json:"self,omitempty"`
}

// Status is one node and its cluster in short.
type Status struct {
	ClusterID     string   `json:"cluster_id"`
	Generation    uint64   `json:"generation"` // of recoveries
	NodeID        string   `json:"node_id"`
	Name          string   `json:"name"`
	Region        string   `json:"region"`
	Zone          string   `json:"zone,omitempty"`
	Version       string   `json:"version"`
	State         string   `json:"state"` // leader, follower, candidate
	Ready         bool     `json:"ready"`
	Reason        string   `json:"reason,omitempty"` // why not ready
	Draining      bool     `json:"draining"`
	Leader        string   `json:"leader"` // name; "" when none is known
	LeaderID      string   `json:"leader_id"`
	LeaderAgeMS   int64    `json:"leader_age_ms"` // since it was last heard
	Term          uint64   `json:"term"`
	Applied       uint64   `json:"applied"`
	Commit        uint64   `json:"commit"`
	Voters        int      `json:"voters"`
	Nodes         int      `json:"nodes"`
	Alive         int      `json:"alive"`
	Quorum        bool     `json:"quorum"`
	Profile       string   `json:"profile"` // lan, wan, far
	Feature       uint32   `json:"feature"`
	InFlight      int64    `json:"in_flight"`
	ConfigVersion uint64   `json:"config_version"`
	ConfigHash    string   `json:"config_hash"`
	ConfigAlike   bool     `json:"config_alike"` // every alive node reports the same hash
	Problems      []string `json:"problems,omitempty"`
}

// TokenInfo is a join token without its secret.
type TokenInfo struct {
	ID      string    `json:"id"`
	Role    string    `json:"role"`
	Uses    int       `json:"uses"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by,omitempty"`
}

// ConfigInfo is one config version without its content.
type ConfigInfo struct {
	Number uint64    `json:"number"`
	Hash   string    `json:"hash"`
	Node   string    `json:"node,omitempty"` // that proposed it
	By     string    `json:"by,omitempty"`
	Note   string    `json:"note,omitempty"`
	At     time.Time `json:"at"`
	Active bool      `json:"active,omitempty"`
}

// ConfigDiff is how a config differs from the cluster's.
type ConfigDiff struct {
	Same        bool         `json:"same"`
	File        string       `json:"file,omitempty"`
	FileHash    string       `json:"file_hash"`
	ClusterHash string       `json:"cluster_hash"`
	Version     uint64       `json:"cluster_version"`
	Changes     []ConfigLine `json:"changes,omitempty"`
}

// ConfigLine is one difference; secrets show as masks.
type ConfigLine struct {
	Path    string `json:"path"` // model_list[gpt-4o].litellm_params.rpm
	Kind    string `json:"kind"` // added, removed, changed: from the cluster to the file
	Cluster string `json:"cluster,omitempty"`
	File    string `json:"file,omitempty"`
}

// Rotation is how far a change of the key-encryption key has come.
type Rotation struct {
	Current  string   `json:"current"`           // fingerprint of the KEK that wraps
	Former   []string `json:"former,omitempty"`  // that still open
	Resealed int      `json:"resealed"`          // values
	Pending  []string `json:"pending,omitempty"` // nodes that lack the current key
}

// Fault is an error that says what the caller did wrong: unknown_node,
// config_invalid and the like. Other errors are outages.
type Fault struct {
	Status  int // HTTP
	Code    string
	Message string
}

// Error is the sentence.
func (f *Fault) Error() string { return f.Message }
