package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var (
	// ErrRotating proves that nothing happened: a change of the key-encryption key
	// is under way.
	ErrRotating = errors.New("a change of the key-encryption key is under way: finish it first")
	// ErrNotRotating proves that there is nothing to finish.
	ErrNotRotating = errors.New("no change of the key-encryption key is under way")

	errKeysChanged = errors.New("propose data keys: another set came first; try again")
)

// KEKs are the fingerprints of the key-encryption keys in use: current wraps
// the data keys, former opens them too while a rotation is under way.
func (n *Node) KEKs() (current, former string) {
	n.keys.mu.Lock()
	defer n.keys.mu.Unlock()
	return n.keys.set.KEK, n.keys.set.Former
}

// RotateKEK wraps the data keys with the key of a fingerprint, which this
// node's box must have learned, and adds a new data key, under which all is
// sealed from now on. The present KEK opens them too until FinishKEK: nodes may
// be given the new one at any time in between.
func (n *Node) RotateKEK(ctx context.Context, fingerprint string) error {
	set, err := n.keys.rotated(fingerprint)
	if err != nil || set == nil {
		return err
	}
	return n.proposeDataKeys(ctx, set)
}

// FinishKEK lets go of the former key and of all data keys but the newest: what
// holds only those no longer opens the cluster's secrets. Everything must have
// been sealed anew before.
func (n *Node) FinishKEK(ctx context.Context) error {
	n.keys.mu.Lock()
	set := n.keys.set
	n.keys.mu.Unlock()
	if set.Former == "" {
		return ErrNotRotating
	}
	set.Generation++
	set.Retired = append(append([]string(nil), set.Retired...), set.Former)
	set.Former, set.Spare = "", nil
	set.Wrapped = set.Wrapped[len(set.Wrapped)-1:]
	return n.proposeDataKeys(ctx, &set)
}

// rotated is the set to propose for a rotation, nil when it has happened.
func (d *dataKeys) rotated(fingerprint string) (*dataKeySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fault != nil:
		return nil, d.fault
	case d.box == nil || d.set.Generation == 0:
		return nil, errors.New("rotate the key-encryption key: there are no data keys yet")
	case d.set.KEK == fingerprint:
		return nil, nil
	case d.set.Former != "":
		return nil, ErrRotating
	}
	next, err := d.wrapped(fingerprint)
	if err != nil {
		return nil, fmt.Errorf("rotate the key-encryption key: %w", err)
	}
	fresh, err := d.box.NewDataKeyUnder(d.set.ClusterID, fingerprint, d.set.KEK)
	if err != nil {
		return nil, fmt.Errorf("rotate the key-encryption key: %w", err)
	}
	next.Wrapped = append(next.Wrapped, fresh[0])
	next.Spare, next.Former = append(slices.Clone(d.set.Wrapped), fresh[1]), d.set.KEK
	// A key that was rotated away may be chosen again on purpose.
	next.Retired = nil
	for _, r := range d.set.Retired {
		if r != fingerprint {
			next.Retired = append(next.Retired, r)
		}
	}
	return next, nil
}
