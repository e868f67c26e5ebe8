package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/config/secret"
)

// dataKeyVersion is the payload version of DataKey commands.
const dataKeyVersion = 1

// dataKeySet is the payload of a DataKey command and the state it leaves: all
// data keys, wrapped, the newest last. Generation makes replacing the set a
// compare-and-set: a set made from an older one would drop a key that sealed
// something meanwhile.
type dataKeySet struct {
	ClusterID  string   `json:"cluster_id"`
	Generation uint64   `json:"generation"`
	Wrapped    [][]byte `json:"wrapped"`
	// KEK is the fingerprint of the key-encryption key they are wrapped with; ""
	// in sets of the first release.
	KEK string `json:"kek,omitempty"`
	// While a change of the KEK is under way the same keys stand here wrapped with
	// the former one, so that a node with either opens them.
	Spare  [][]byte `json:"spare,omitempty"`
	Former string   `json:"former,omitempty"`
	// Retired are fingerprints that were rotated away: an environment that still
	// has one must not bring it back.
	Retired []string `json:"retired,omitempty"`
}

// dataKeyRecord is its only record in snapshots.
const dataKeyRecord byte = 1

// fromNewer stops a node that met a form of a newer release.
type fromNewer struct{ error }

func (fromNewer) StopsNode() {}

// dataKeys is the state machine of the wrapped data keys.
type dataKeys struct {
	box     *secret.Box
	changed func() // readers that open secrets look again

	dirty bool // owned by the goroutine that applies

	mu  sync.Mutex // guards what others read from their goroutines
	set dataKeySet
	// fault is why the set does not open. It is no reason to stop at once: a set
	// wrapped with the present KEK may come later in the log.
	fault error
}

// Apply replaces the set. The answer is true when it was taken.
func (d *dataKeys) Apply(_ uint64, _ time.Time, version byte, payload []byte) any {
	if version != dataKeyVersion {
		return fromNewer{fmt.Errorf("data key version %d is of a newer release", version)}
	}
	var set dataKeySet
	if err := json.Unmarshal(payload, &set); err != nil {
		return fmt.Errorf("read data keys: %w", err)
	}
	if set.Generation != d.set.Generation+1 {
		return false
	}
	d.take(set)
	return true
}

func (d *dataKeys) take(set dataKeySet) {
	with, err := d.install(&set)
	if set.KEK == "" {
		set.KEK = with
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set, d.fault = set, err
	d.dirty = true
}

// Publish lets readers open what the new keys open.
func (d *dataKeys) Publish() {
	if d.dirty && d.changed != nil {
		d.changed()
	}
	d.dirty = false
}

// install gives the keys to the box, from the spare wrapping where this node
// still has the former KEK alone. with is the fingerprint that opened the newest.
func (d *dataKeys) install(set *dataKeySet) (with string, err error) {
	if d.box == nil {
		return "", nil
	}
	for i, w := range set.Wrapped {
		with, err = d.box.Install(set.ClusterID, w)
		if errors.Is(err, secret.ErrWrongKEK) && i < len(set.Spare) {
			with, err = d.box.Install(set.ClusterID, set.Spare[i])
		}
		if err != nil {
			return "", err
		}
	}
	return with, nil
}

// Snapshot is the set as it stands.
func (d *dataKeys) Snapshot() iter.Seq2[byte, []byte] {
	set := d.set
	return func(yield func(byte, []byte) bool) {
		if set.Generation == 0 {
			return
		}
		data, err := json.Marshal(set)
		if err != nil {
			yield(0, []byte(err.Error()))
			return
		}
		yield(dataKeyRecord, data)
	}
}

// Restore reads the set; the swap opens it.
func (d *dataKeys) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	var set dataKeySet
	for kind, data := range records {
		if kind != dataKeyRecord {
			return nil, fmt.Errorf("restore data keys: record kind %d is not known to this release", kind)
		}
		set = dataKeySet{}
		if err := json.Unmarshal(data, &set); err != nil {
			return nil, fmt.Errorf("restore data keys: %w", err)
		}
	}
	return func() { d.take(set) }, nil
}

// failure is why the present set does not open, nil when it does.
func (d *dataKeys) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault
}

// wish is the set that the leader should propose, nil when all is well. It is
// asked after everything committed has been applied, so a fault is final. A
// KEK that the operator has given anew is taken up at once by a node that is
// alone; with others it would lock them out, so there it takes a rotation.
func (d *dataKeys) wish(cluster string, alone bool) (*dataKeySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fault != nil:
		return nil, d.fault
	case d.box == nil:
		return nil, nil
	case d.set.Generation == 0:
		wrapped, err := d.box.NewDataKey(cluster)
		if err != nil {
			return nil, err
		}
		return &dataKeySet{ClusterID: cluster, Generation: 1, Wrapped: [][]byte{wrapped}, KEK: d.box.KEK().Fingerprint()}, nil
	}
	mine := d.box.KEK().Fingerprint()
	if !alone || mine == d.set.KEK || mine == d.set.Former || slices.Contains(d.set.Retired, mine) {
		return nil, nil
	}
	return d.wrapped(mine)
}

// wrapped is the next set, with all keys wrapped by the KEK of a fingerprint.
func (d *dataKeys) wrapped(fingerprint string) (*dataKeySet, error) {
	next := &dataKeySet{ClusterID: d.set.ClusterID, Generation: d.set.Generation + 1, KEK: fingerprint, Retired: d.set.Retired}
	for i, w := range d.set.Wrapped {
		again, err := d.box.Rewrap(d.set.ClusterID, w, fingerprint)
		if errors.Is(err, secret.ErrWrongKEK) && i < len(d.set.Spare) {
			again, err = d.box.Rewrap(d.set.ClusterID, d.set.Spare[i], fingerprint)
		}
		if err != nil {
			return nil, err
		}
		next.Wrapped = append(next.Wrapped, again)
	}
	return next, nil
}

// ensureDataKey makes the cluster's first data key, and takes up a KEK that the
// operator of a single node has changed. Only the leader does it.
func (n *Node) ensureDataKey(ctx context.Context) error {
	set, err := n.keys.wish(n.id.ClusterID, n.Status().Members <= 1)
	if err != nil || set == nil {
		return err
	}
	return n.proposeDataKeys(ctx, set)
}

func (n *Node) proposeDataKeys(ctx context.Context, set *dataKeySet) error {
	payload, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("propose data keys: %w", err)
	}
	answer, _, err := n.Submit(ctx, command.DataKey, dataKeyVersion, payload)
	if err != nil {
		return fmt.Errorf("propose data keys: %w", err)
	}
	if taken, ok := answer.(bool); !ok || !taken {
		return errKeysChanged
	}
	n.log.Info("data keys committed", "generation", set.Generation, "kek", set.KEK)
	return nil
}

var (
	_ fsm.Applier   = (*dataKeys)(nil)
	_ fsm.Publisher = (*dataKeys)(nil)
)
