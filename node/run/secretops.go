package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
	"tollgate/proxy/clusterapi"
)

// What nodes tell each other while the key-encryption key is changed.
const (
	methodLearn  = "secrets.learn"  // keep and know this key
	methodHolds  = "secrets.holds"  // is a key held
	methodForget = "secrets.forget" // let go of keys
)

// keyMessage is the body of all three.
type keyMessage struct {
	Key          string   `json:"key,omitempty"`
	Fingerprints []string `json:"fingerprints,omitempty"`
}

// errStarting tells a node that asks too early to ask again.
var errStarting = &peer.Error{Code: "not_ready", Message: "the node is still starting"}

// handleSecrets answers other nodes, whose certificates prove them members.
func (n *node) handleSecrets() {
	n.port.Handle(methodLearn, n.onKeys(func(o *opened, m keyMessage) error {
		// On disk first: a key that is known and not kept would count as held, and
		// be missed at the next start.
		if err := secret.StoreKEK(n.o.DataDir, m.Key); err != nil {
			return err
		}
		_, err := o.box.Learn(m.Key)
		return err
	}))
	n.port.Handle(methodHolds, n.onKeys(func(o *opened, m keyMessage) error {
		for _, f := range m.Fingerprints {
			if o.box.KEK().Export(f) == "" {
				return &peer.Error{Code: "not_held", Message: "the key is not held here"}
			}
		}
		return nil
	}))
	n.port.Handle(methodForget, n.onKeys(func(_ *opened, m keyMessage) error {
		return secret.ForgetKEKs(n.o.DataDir, m.Fingerprints)
	}))
}

func (n *node) onKeys(do func(o *opened, m keyMessage) error) peer.Handler {
	return func(_ context.Context, _ string, request []byte) ([]byte, error) {
		o := n.place.opened.Load()
		if o == nil {
			return nil, errStarting
		}
		var m keyMessage
		if err := json.Unmarshal(request, &m); err != nil {
			return nil, &peer.Error{Code: "bad_request", Message: "read the key message: " + err.Error()}
		}
		return nil, do(o, m)
	}
}

// everyNode asks all members at once and names those that did not agree.
func (op *operations) everyNode(ctx context.Context, method string, m keyMessage) (missing []string) {
	request, err := json.Marshal(m)
	if err != nil { // plain data
		panic(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards missing
	for _, node := range op.n.cluster.Membership().Nodes() {
		wg.Go(func() {
			if _, err := op.n.port.Call(ctx, node.ID, method, request); err != nil {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, node.Name)
			}
		})
	}
	wg.Wait()
	slices.Sort(missing)
	return missing
}

// RotateSecrets makes a new key wrap the data keys, on every node.
func (op *operations) RotateSecrets(ctx context.Context, newKEK string) (clusterapi.Rotation, error) {
	kek, err := secret.KEKFromText(newKEK)
	if err != nil {
		return clusterapi.Rotation{}, &clusterapi.Fault{Status: 400, Code: "bad_key", Message: err.Error()}
	}
	fingerprint := kek.Fingerprint()
	if current, former := op.n.cluster.KEKs(); former != "" && current != fingerprint {
		return clusterapi.Rotation{}, rotating()
	}
	// The nodes first: whoever restarts from now on opens what is wrapped next.
	op.everyNode(ctx, methodLearn, keyMessage{Key: kek.Export(fingerprint)})
	if op.n.box.KEK().Export(fingerprint) == "" {
		return clusterapi.Rotation{}, errors.New("this node could not keep the new key")
	}
	err = op.n.cluster.RotateKEK(ctx, fingerprint)
	if errors.Is(err, cluster.ErrRotating) {
		return clusterapi.Rotation{}, rotating()
	}
	if err != nil {
		return clusterapi.Rotation{}, err
	}
	count, err := op.n.reseal(ctx)
	if err != nil {
		return clusterapi.Rotation{}, fmt.Errorf("the new key is in use, but not all is sealed anew yet; run it again: %w", err)
	}
	out, err := op.Rotation(ctx)
	out.Resealed = count
	return out, err
}

func rotating() error {
	return &clusterapi.Fault{Status: 409, Code: "rotating", Message: "A change of the key-encryption key is under way: `tollgate secrets status` shows it, `tollgate secrets finish` ends it."}
}

// Rotation is how far a change of the key-encryption key has come.
func (op *operations) Rotation(ctx context.Context) (clusterapi.Rotation, error) {
	current, former := op.n.cluster.KEKs()
	out := clusterapi.Rotation{Current: current}
	if former != "" {
		out.Former = []string{former}
	}
	out.Pending = op.everyNode(ctx, methodHolds, keyMessage{Fingerprints: []string{current}})
	return out, nil
}

// FinishRotation lets go of the former key, once every node has the new one.
func (op *operations) FinishRotation(ctx context.Context) (clusterapi.Rotation, error) {
	r, err := op.Rotation(ctx)
	if err != nil {
		return r, err
	}
	if len(r.Pending) > 0 {
		return r, &clusterapi.Fault{Status: 409, Code: "pending", Message: fmt.Sprintf(
			"Not every node has the new key yet: %s. Bring them back, or forget those that are gone, and finish again.", strings.Join(r.Pending, ", "))}
	}
	former := r.Former
	if len(former) > 0 { // what was sealed since under an older key, by a node that lagged
		if r.Resealed, err = op.n.reseal(ctx); err != nil {
			return r, err
		}
	}
	err = op.n.cluster.FinishKEK(ctx)
	if errors.Is(err, cluster.ErrNotRotating) {
		return r, &clusterapi.Fault{Status: 409, Code: "not_rotating", Message: "No change of the key-encryption key is under way: begin one with `tollgate secrets rotate`."}
	}
	if err != nil {
		return r, err
	}
	op.everyNode(ctx, methodForget, keyMessage{Fingerprints: former})
	return op.Rotation(ctx)
}

// RotateGossipKey installs a new key, uses it and removes the former ones, each
// when all living nodes have followed.
func (op *operations) RotateGossipKey(ctx context.Context, progress func(step string)) error {
	n := op.n
	key, err := n.nextGossipKey()
	if err != nil {
		return err
	}
	old := n.cluster.Membership().Keys
	progress("installing key " + key.ID)
	if err := op.change(ctx, &members.Command{Op: members.OpKeyInstall, Key: key}); err != nil {
		return err
	}
	if err := op.allFollow(ctx, "install", func(m gossip.Member) bool { return slices.Contains(m.KeyIDs, key.ID) }); err != nil {
		return err
	}
	progress("using key " + key.ID)
	if err := op.change(ctx, &members.Command{Op: members.OpKeyUse, ID: key.ID}); err != nil {
		return err
	}
	if err := op.allFollow(ctx, "use", func(m gossip.Member) bool { return m.KeyID == key.ID }); err != nil {
		return err
	}
	for _, k := range old {
		if k.ID == key.ID {
			continue
		}
		progress("removing key " + k.ID)
		if err := op.change(ctx, &members.Command{Op: members.OpKeyRemove, ID: k.ID}); err != nil {
			return err
		}
	}
	progress("done: every node gossips with key " + key.ID)
	return nil
}

// nextGossipKey is a fresh key, or the one that an attempt which broke off has
// installed: each attempt with one of its own would fill the ring.
func (n *node) nextGossipKey() (*members.GossipKey, error) {
	s := n.cluster.Membership()
	if last := len(s.Keys) - 1; last >= 0 && s.Keys[last].ID != s.Primary {
		return &s.Keys[last], nil
	}
	return join.NewGossipKey(n.box)
}

// followWithin bounds how long a node may take to follow one step.
const followWithin = 30 * time.Second

// allFollow waits until gossip shows that all living nodes have done a step.
func (op *operations) allFollow(ctx context.Context, step string, done func(gossip.Member) bool) error {
	ctx, cancel := context.WithTimeout(ctx, followWithin)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		var behind []string
		for _, m := range op.n.place.members() {
			if m.State == gossip.Alive && !done(m) {
				behind = append(behind, m.Name)
			}
		}
		if len(behind) == 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return &clusterapi.Fault{Status: 503, Code: "nodes_behind", Message: fmt.Sprintf(
				"Some nodes have not followed the step %q within %s: %s. Run the command again when they have.", step, followWithin, strings.Join(behind, ", "))}
		}
	}
}
