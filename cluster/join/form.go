package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// FormConfig is how identical machines form a cluster among themselves.
type FormConfig struct {
	NodeID string
	Nonce  string // of this start
	Expect int    // how many must agree
	Peers  []string
	Self   string // this node's own address, if it stands among the peers
	Secret []byte // SecretKey
	Memo   Memo   // the Store
	Dial   Dialler
	// Resolve gives the addresses behind a host name; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]string, error)
	// Join joins a cluster that was found through one of the addresses.
	Join   func(ctx context.Context, addrs []string) (*Welcome, error)
	Every  time.Duration // between looks; 0: half a second
	Logger *slog.Logger
}

// Outcome is how the forming ended: this node founds the cluster, or it was let
// into one.
type Outcome struct {
	Found   bool
	Welcome *Welcome
}

// Former forms a cluster: it looks at every peer again and again, joins the
// cluster of the first that has one, and founds one only when as many machines
// as expected have promised it, and it alone, that it may.
//
// Two clusters cannot come about: a machine promises to one founder at a time
// and keeps that over restarts, a founder needs as many promises as expected,
// and no founder claims where two such groups could stand side by side. The
// price: a machine that was promised to and vanishes for good, disk and all,
// before it founded leaves the others waiting, since it might have founded.
type Former struct {
	cfg  FormConfig
	box  *ballotBox
	chat func(ctx context.Context, addr string, p *probe) (*sighting, error)

	mu   sync.Mutex // guards seen and able
	seen map[string]sighting
	able bool

	// Owned by Run: what was last logged.
	fault map[string]string // by address
	told  string
}

// probe is one machine's question to another. Claim, when not 0, is the epoch
// of a claim that asks for a promise.
type probe struct {
	ID     string `json:"id"`
	Nonce  string `json:"nonce"`
	Expect int    `json:"expect"`
	Claim  uint64 `json:"claim,omitempty"`
}

// sighting is what a machine says of itself.
type sighting struct {
	ID        string   `json:"id"`
	Nonce     string   `json:"nonce"`
	Expect    int      `json:"expect,omitempty"`
	ClusterID string   `json:"cluster_id,omitempty"`
	Ready     bool     `json:"ready,omitempty"`   // of a cluster: lets others in
	Founded   bool     `json:"founded,omitempty"` // it will have a cluster in a moment
	Sees      []string `json:"sees,omitempty"`    // ids it has reached itself
	Able      bool     `json:"able,omitempty"`    // enough of them see it too
	Epoch     uint64   `json:"epoch,omitempty"`
	Promised  string   `json:"promised,omitempty"`
	Granted   bool     `json:"granted,omitempty"` // the promise asked for
}

const (
	formEvery   = 500 * time.Millisecond
	probeWithin = 3 * time.Second
)

// NewFormer makes a former. It answers others from now on, through a Server.
func NewFormer(cfg FormConfig) (*Former, error) {
	switch {
	case cfg.Expect < 1:
		return nil, fmt.Errorf("form a cluster: expect %d: want at least 1", cfg.Expect)
	case len(cfg.Peers) == 0 && cfg.Expect > 1:
		return nil, fmt.Errorf("form a cluster: %d nodes are expected and no peer is named: give --peers", cfg.Expect)
	case len(cfg.Secret) == 0:
		return nil, errors.New("form a cluster: no secret: give --cluster-secret or LITELLM_MASTER_KEY, the same on every machine")
	}
	if cfg.Every <= 0 {
		cfg.Every = formEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = net.DefaultResolver.LookupHost
	}
	box, err := openBallotBox(cfg.Memo, cfg.NodeID)
	if err != nil {
		return nil, fmt.Errorf("form a cluster: %w", err)
	}
	cfg.Nonce = SumNonce(cfg.Nonce)
	f := &Former{cfg: cfg, box: box, seen: map[string]sighting{}, fault: map[string]string{}}
	f.chat = f.dial
	return f, nil
}

// Run forms. It ends with an outcome, with what only the operator can mend, or
// with ctx.
func (f *Former) Run(ctx context.Context) (*Outcome, error) {
	for {
		out, err := f.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("form a cluster: %w", err)
		}
		if out != nil {
			f.box.close()
			return out, nil
		}
		t := time.NewTimer(f.cfg.Every + rand.N(f.cfg.Every/2+1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("form a cluster: %w", ctx.Err())
		}
	}
}

// round looks at everybody once and does what follows from it.
func (f *Former) round(ctx context.Context) (*Outcome, error) {
	v := f.look(ctx, 0)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if v.copied != nil {
		return nil, v.copied
	}
	if out, err := f.join(ctx, v); out != nil || err != nil {
		return out, err
	}
	b := f.box.read()
	if b.Founded {
		// This node was about to found when it stopped, and nobody else may.
		return &Outcome{Found: true}, nil
	}
	if len(v.clusters) > 0 || v.founded != "" {
		f.say("a cluster is about to be ready", "node", v.founded)
		return nil, nil
	}
	if v.twins != nil {
		f.cfg.Logger.Warn("two machines run with one node id", "error", v.twins)
		return nil, nil
	}
	for _, s := range v.seen {
		if s.Expect != f.cfg.Expect {
			return nil, refuse(CodeExpect, "node %s at %s expects %d nodes, this one %d: give every machine the same --expect",
				s.ID, v.at[s.ID], s.Expect, f.cfg.Expect)
		}
	}
	if s, ok := v.seen[b.To]; ok {
		if err := f.box.free(s.ID, s.Epoch); err != nil {
			return nil, err
		}
		b = f.box.read()
	}
	return f.claim(ctx, v, b)
}

// claim founds if this node is the one to do it and enough others agree.
func (f *Former) claim(ctx context.Context, v *view, b Ballot) (*Outcome, error) {
	best := v.best(f.cfg.Expect)
	switch {
	case b.Claiming && best != "" && best < f.cfg.NodeID:
		return nil, f.box.release()
	case b.To != "" && b.To != f.cfg.NodeID:
		if _, there := v.seen[b.To]; there {
			f.say("another node founds the cluster", "node", b.To)
		} else {
			f.say("a node that may have founded the cluster is out of reach; if it is gone for good, "+
				"empty the data directories of all nodes and start them anew", "node", b.To)
		}
		return nil, nil
	case v.unsure != "":
		f.say("a peer refuses this node and may belong to a cluster: give it the same secret, or take it off the peers", "addr", v.unsure)
		return nil, nil
	case v.couldSplit(f.cfg.Expect):
		f.say("too few nodes are expected: among so many peers two groups could each found a cluster; "+
			"expect more than half of them", "expected", f.cfg.Expect, "peers", v.universe())
		return nil, nil
	case best != f.cfg.NodeID:
		f.say("waiting for other nodes", "seen", len(v.seen)+1, "expected", f.cfg.Expect)
		return nil, nil
	}
	epoch, ok, err := f.box.claim(f.cfg.NodeID)
	if err != nil || !ok {
		return nil, err
	}
	answers := f.look(ctx, epoch)
	promised := 1
	for _, s := range answers.seen {
		if s.Granted && s.Expect == f.cfg.Expect {
			promised++
		}
	}
	if promised < f.cfg.Expect || answers.doubtful(f.cfg.Expect) {
		f.say("claim not granted yet", "promised", promised, "expected", f.cfg.Expect)
		return nil, nil
	}
	if ok, err := f.box.found(epoch); err != nil || !ok {
		return nil, err
	}
	f.cfg.Logger.Info("this node founds the cluster", "promised", promised, "expected", f.cfg.Expect)
	return &Outcome{Found: true}, nil
}

// join joins a cluster that was seen.
func (f *Former) join(ctx context.Context, v *view) (*Outcome, error) {
	if len(v.clusters) > 1 {
		ids := make([]string, 0, len(v.clusters))
		for id, addrs := range v.clusters {
			ids = append(ids, fmt.Sprintf("%s at %s", id, addrs[0]))
		}
		slices.Sort(ids)
		return nil, refuse(CodeOtherCluster, "the peers belong to different clusters (%s, %s): name those of one", ids[0], ids[1])
	}
	if len(v.ready) == 0 {
		return nil, nil
	}
	slices.Sort(v.ready)
	w, err := f.cfg.Join(ctx, v.ready)
	if err == nil {
		return &Outcome{Welcome: w}, nil
	}
	var r *Refusal
	if errors.As(err, &r) && !r.elsewhere() {
		return nil, err
	}
	f.say("the cluster does not let this node in yet", "error", err)
	return nil, nil
}

// say logs what keeps the forming waiting, once until it changes.
func (f *Former) say(msg string, args ...any) {
	if text := fmt.Sprint(msg, args); text != f.told {
		f.told = text
		f.cfg.Logger.Info(msg, args...)
	}
}

// answer answers another machine's probe.
func (f *Former) answer(p *probe) *sighting {
	granted := false
	if p.Claim != 0 && p.ID != f.cfg.NodeID && p.Expect == f.cfg.Expect {
		var err error
		if granted, err = f.box.promise(p.ID, p.Claim, f.noneBetter(p.ID)); err != nil {
			f.cfg.Logger.Error("promise cannot be kept", "error", err)
		}
	}
	b := f.box.read()
	return &sighting{
		ID: f.cfg.NodeID, Nonce: f.cfg.Nonce, Expect: f.cfg.Expect, Founded: b.Founded,
		Sees: f.sees(), Able: f.isAble(), Epoch: b.Epoch, Promised: b.To, Granted: granted,
	}
}

func (f *Former) isAble() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.able
}

// noneBetter reports whether no smaller id could found as well, as this node
// last saw it. Promises hold without it; it only saves contests.
func (f *Former) noneBetter(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s.ID < id && s.Able {
			return false
		}
	}
	return f.cfg.NodeID > id || !f.able
}

func (f *Former) sees() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, 0, len(f.seen))
	for id := range f.seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
