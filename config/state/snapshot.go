// Package state is the view that a request sees: one immutable snapshot of
// everything the cluster has agreed on, with the indexes that make every lookup
// of the proxy path one map access. Readers take the pointer once and keep it
// to the end of the request.
package state

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/price"
)

// Snapshot is one immutable version of the state. Nothing reachable from it is
// ever written again.
type Snapshot struct {
	Index    uint64
	Now      time.Time // the state's own clock: never runs backwards
	Keys     *Table[*model.Key]
	Users    *Table[*model.User]
	Teams    *Table[*model.Team]
	Members  *Table[*model.Member]
	Budgets  *Table[*model.Budget]
	EndUsers *Table[*model.EndUser]
	Models   *Table[*model.DBModel]
	Configs  *Table[*model.ConfigVersion]

	Organizations *Table[*model.Organization]
	OrgMembers    *Table[*model.OrgMember]
	Tags          *Table[*model.Tag]
	Alerts        *Table[*model.Alert]

	Routing *Routing // compiled from the active config and the Models table

	idx indexes // kept by Builder
}

// Getter is how rooms see the state: one call, one pointer.
type Getter interface {
	State() *Snapshot
}

// Routing is a config compiled for the proxy path, secrets opened. Admin reads
// never serialise it.
type Routing struct {
	Version  uint64 // number of the config version
	Hash     string
	Config   *model.Config // settings; its Params still hold sealed secrets
	Groups   map[string]*Group
	ByID     map[string]*Deployment
	Aliases  map[string]model.AliasTarget
	Patterns []*Pattern // wildcard groups, longest first
	Location *time.Location
	Prices   *price.Book
	Warnings []string

	index routingIndex // of routing.go
}

// Group is what clients call a model: its deployments share the load.
type Group struct {
	Name        string
	Deployments []*Deployment
	AccessNames []string // access groups that open this group
}

// Pattern is a wildcard group such as "openai/*".
type Pattern struct {
	Name        string
	Deployments []*Deployment
}

// Deployment is one endpoint, model and credential, ready to be called.
type Deployment struct {
	ID           string
	Group        string
	Provider     string // canonical name: openai, anthropic, groq, …
	Model        string // as the provider knows it, without our prefix
	FullModel    string // "provider/model", for spend rows
	APIBase      string
	APIKey       string
	APIVersion   string
	Organization string
	Region       string

	Defaults     []Param           // request fields a client may override
	ExtraHeaders map[string]string // sent to the provider
	ExtraBody    []Param           // laid over the request body
	DropParams   bool
	DropAlso     []string
	AllowParams  []string

	MockResponse *string // answer without calling the provider
	Mode         string
	Info         model.Params
	Params       model.Params // sealed secrets still sealed

	Price     *price.Row // nil: unpriced
	MaxInput  int64      // tokens; 0 unknown
	MaxOutput int64      // tokens; 0 unknown

	RPM, TPM      *int64
	Parallel      *int64
	Weight        *float64
	Order         *int
	Timeout       time.Duration
	StreamTimeout time.Duration
	NumRetries    *int
	Cooldown      *time.Duration
	Tags          []string
	AccessGroups  []string
	Hidden        bool
	DBModel       bool
	Wildcard      bool // Model holds what the client's name captured
	// Problem, when set, is why the deployment cannot be called, such as a
	// missing key. It is chosen only when its group has nothing better, and the
	// call is answered with it.
	Problem string

	compiled // of routing_deployment.go
}

// Param is one raw JSON field, in the order it was given: bytes sent to a
// provider must not depend on map order, or prompt caches miss.
type Param struct {
	Name  string
	Value []byte
}
