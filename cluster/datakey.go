package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
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

	mu     sync.Mutex // guards what the leading node reads from another goroutine
	set    dataKeySet
	rewrap *dataKeySet // the set wrapped with the present KEK, when it is not
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
	rewrap, err := d.install(&set)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set, d.rewrap, d.fault = set, rewrap, err
	d.dirty = true
}

// Publish lets readers open what the new keys open.
func (d *dataKeys) Publish() {
	if d.dirty && d.changed != nil {
		d.changed()
	}
	d.dirty = false
}

// install gives the keys to the box. It returns the set to propose when a key
// is still wrapped with a former KEK.
func (d *dataKeys) install(set *dataKeySet) (*dataKeySet, error) {
	if d.box == nil {
		return nil, nil
	}
	next := &dataKeySet{ClusterID: set.ClusterID, Generation: set.Generation + 1}
	changed := false
	for _, w := range set.Wrapped {
		again, err := d.box.Install(set.ClusterID, w)
		if err != nil {
			return nil, err
		}
		if again != nil {
			changed, w = true, again
		}
		next.Wrapped = append(next.Wrapped, w)
	}
	if !changed {
		return nil, nil
	}
	return next, nil
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
// asked after everything committed has been applied, so a fault is final.
func (d *dataKeys) wish(cluster string) (*dataKeySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fault != nil:
		return nil, d.fault
	case d.box == nil || d.set.Generation > 0:
		return d.rewrap, nil
	}
	wrapped, err := d.box.NewDataKey(cluster)
	if err != nil {
		return nil, err
	}
	return &dataKeySet{ClusterID: cluster, Generation: 1, Wrapped: [][]byte{wrapped}}, nil
}

// ensureDataKey makes the cluster's first data key, and wraps the present ones
// anew after the operator has changed the KEK. Only the leader does it.
func (n *Node) ensureDataKey(ctx context.Context) error {
	set, err := n.keys.wish(n.id.ClusterID)
	if err != nil || set == nil {
		return err
	}
	payload, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("propose data keys: %w", err)
	}
	answer, _, err := n.Submit(ctx, command.DataKey, dataKeyVersion, payload)
	if err != nil {
		return fmt.Errorf("propose data keys: %w", err)
	}
	if taken, ok := answer.(bool); !ok || !taken {
		return errors.New("propose data keys: another set came first")
	}
	n.log.Info("data keys committed", "generation", set.Generation)
	return nil
}

var (
	_ fsm.Applier   = (*dataKeys)(nil)
	_ fsm.Publisher = (*dataKeys)(nil)
)
