package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/gossip"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

// Config is what a node needs to take part.
type Config struct {
	Dir      string    // data directory; raft's part lies in raft/
	Identity *Identity // of that directory, from LoadIdentity
	Name     string    // for people; not an identity
	Region   string
	Zone     string
	Role     members.Role // "": node

	// Bootstrap starts a cluster of one when there is no raft state yet. Without
	// it a fresh node waits to be added by others.
	Bootstrap bool
	// Appliers are the state machines, by the commands they take. DataKey and
	// Membership are the node's own.
	Appliers map[command.Type]fsm.Applier
	// Answers carry what appliers answer from the leader to the node that asked.
	// Mutation and Membership are built in.
	Answers map[command.Type]AnswerCodec
	// Box gets the cluster's data keys as they are committed; the first leader
	// makes one. nil: values are not sealed.
	Box *secret.Box
	// KeysChanged is called on the applying goroutine when Box has got keys that
	// readers of the published state may have missed.
	KeysChanged func()

	Transport Transport // nil: a cluster of one that nobody can join
	Storage   *Storage  // nil: on disk, below Dir
	Profile   Profile   // "": auto
	// Calls and Registrar reach the other nodes and let them reach this one. nil:
	// there are no others, and nothing is ever forwarded.
	Calls     peer.Caller
	Registrar peer.Registrar
	// Gossip tells who is alive. nil: nobody but this node is known to be.
	Gossip func() []gossip.Member
	// Settings are read at each plan of the leader.
	Settings func() Settings
	// ConcernIndex is the raft index of the newest change in this node's state
	// that concerns a key, 0 when it knows of none. Only the leader is asked. nil:
	// every change concerns every key.
	ConcernIndex func(keyHash string) uint64
	// Found makes the cluster's certificate authority, on the first leader; it is
	// called until it succeeds, while there is none. nil: never.
	Found func(ctx context.Context) error

	Logger     *slog.Logger
	Clock      unit.Clock
	Registerer prometheus.Registerer // nil: nothing is measured
}

// Storage is where raft keeps its log and snapshots, for simulations.
type Storage struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// Settings are what operators may change while the cluster runs.
type Settings struct {
	Voters       int           // 0: as many as the members afford; else 1, 3, 5
	PreferRegion string        // where the leader should be; "": anywhere
	FeatureAfter time.Duration // until a feature level that all speak is taken; 0: 10 min, below 0: never
}

// AnswerCodec carries the answers to one type of command between nodes, and
// says how its commands may be treated on the way.
type AnswerCodec struct {
	// Encode writes an answer. An error of it is the answer then, as its text.
	Encode func(answer any) ([]byte, error)
	Decode func(data []byte) (any, error) // the data is the caller's to keep

	// Check is the leader's own look at a command that node from has sent. It must
	// not keep the payload. nil: any is taken.
	Check func(from string, version byte, payload []byte) error
	// Repeatable says that a command applied twice has the effect and the answer
	// of one, so that an unknown outcome may be resolved by proposing it again.
	Repeatable bool
	// Ahead says that the proposer needs only the answer: Submit does not wait
	// until this node has applied the command.
	Ahead bool
}

func (c Config) withDefaults() Config {
	if c.Profile == "" {
		c.Profile = Auto
	}
	if c.Role == "" {
		c.Role = members.RoleNode
	}
	if c.Gossip == nil {
		c.Gossip = func() []gossip.Member { return nil }
	}
	if c.Settings == nil {
		c.Settings = func() Settings { return Settings{} }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = unit.SystemClock{}
	}
	return c
}

func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" && c.Storage == nil {
		errs = append(errs, errors.New("no data directory"))
	}
	if c.Identity == nil {
		errs = append(errs, errors.New("no identity"))
	}
	if s := c.Storage; s != nil && (s.Log == nil || s.Stable == nil || s.Snapshots == nil) {
		errs = append(errs, errors.New("storage without a log, stable store or snapshots"))
	}
	if (c.Calls == nil) != (c.Registrar == nil) {
		errs = append(errs, errors.New("calls to other nodes and from them go together"))
	}
	for _, own := range []command.Type{command.DataKey, command.Membership} {
		if _, ok := c.Appliers[own]; ok {
			errs = append(errs, fmt.Errorf("%s has an applier already", own))
		}
	}
	for t, a := range c.Answers {
		if a.Encode == nil || a.Decode == nil {
			errs = append(errs, fmt.Errorf("answers to %s cannot be both written and read", t))
		}
	}
	if _, ok := timings[c.Profile]; !ok {
		errs = append(errs, fmt.Errorf("profile %q: want auto, lan, wan or far", c.Profile))
	}
	if !c.Role.Known() {
		errs = append(errs, fmt.Errorf("role %q: want node or witness", c.Role))
	}
	return errors.Join(errs...)
}
