package gossip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// Key is one key of the gossip ring.
type Key struct {
	ID     string // of KeyID
	Secret [32]byte
}

// KeyID names a key: the first 8 hex digits of its SHA-256.
func KeyID(secret [32]byte) string {
	sum := sha256.Sum256(secret[:])
	return hex.EncodeToString(sum[:4])
}

// String hides the secret.
func (k Key) String() string { return "gossip key " + k.ID }

// bytes are a copy of the secret: memberlist's keyring keeps what it is given.
func (k Key) bytes() []byte { return k.Secret[:] }

// ring is the keys this node can read with, the one it sends with first.
type ring struct {
	keys *memberlist.Keyring

	mu   sync.Mutex // guards list and the order of changes
	list []Key
}

func newRing(keys []Key) (*ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("gossip needs a key")
	}
	var secrets [][]byte
	for i, k := range keys {
		if k.ID != KeyID(k.Secret) {
			return nil, fmt.Errorf("gossip key %d is named %q but its id is %s: the key file is damaged", i+1, k.ID, KeyID(k.Secret))
		}
		if slices.ContainsFunc(keys[:i], func(o Key) bool { return o.ID == k.ID }) {
			return nil, fmt.Errorf("gossip key %s is given twice", k.ID)
		}
		secrets = append(secrets, k.bytes())
	}
	r, err := memberlist.NewKeyring(secrets, secrets[0])
	if err != nil {
		return nil, fmt.Errorf("make the gossip keyring: %w", err)
	}
	return &ring{keys: r, list: slices.Clone(keys)}, nil
}

func (r *ring) ids() (primary string, all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.list {
		all = append(all, k.ID)
	}
	return all[0], all
}

func (r *ring) find(id string) int {
	return slices.IndexFunc(r.list, func(k Key) bool { return k.ID == id })
}

func (r *ring) install(k Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.find(k.ID) >= 0 {
		return nil
	}
	if len(r.list) >= maxKeyIDs {
		return fmt.Errorf("install gossip key %s: the ring holds %d already, remove one first", k.ID, len(r.list))
	}
	if err := r.keys.AddKey(k.bytes()); err != nil {
		return fmt.Errorf("install gossip key %s: %w", k.ID, err)
	}
	r.list = append(r.list, k)
	return nil
}

func (r *ring) use(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(id)
	if i < 0 {
		return fmt.Errorf("use gossip key %s: it is not installed", id)
	}
	if err := r.keys.UseKey(r.list[i].bytes()); err != nil {
		return fmt.Errorf("use gossip key %s: %w", id, err)
	}
	k := r.list[i]
	r.list = slices.Insert(slices.Delete(r.list, i, i+1), 0, k)
	return nil
}

func (r *ring) remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(id)
	switch {
	case i < 0:
		return nil
	case i == 0:
		return fmt.Errorf("remove gossip key %s: it is the one in use", id)
	}
	// memberlist's keyring closes the gap in place, in the very slice that its
	// readers hold. A key at the end leaves no gap; using each of the others once,
	// the first one last, puts it there.
	for j := len(r.list) - 1; j >= 0; j-- {
		if j == i {
			continue
		}
		if err := r.keys.UseKey(r.list[j].bytes()); err != nil {
			return fmt.Errorf("remove gossip key %s: %w", id, err)
		}
	}
	if err := r.keys.RemoveKey(r.list[i].bytes()); err != nil {
		return fmt.Errorf("remove gossip key %s: %w", id, err)
	}
	r.list = slices.Delete(r.list, i, i+1)
	return nil
}

// InstallKey lets this node read what is sent with the key. It is the first of
// three steps; others see by Meta.KeyIDs when it is done here. Installing a key
// again is no fault, so that all steps may be repeated.
func (p *Pool) InstallKey(k Key) error {
	if k.ID != KeyID(k.Secret) {
		return fmt.Errorf("gossip key %q: its id is %s", k.ID, KeyID(k.Secret))
	}
	return p.rotate(func() error { return p.ring.install(k) })
}

// UseKey makes this node send with the key. All must have installed it.
func (p *Pool) UseKey(id string) error {
	return p.rotate(func() error { return p.ring.use(id) })
}

// RemoveKey makes this node no longer read what is sent with the key. Nobody may
// be sending with it.
func (p *Pool) RemoveKey(id string) error {
	return p.rotate(func() error { return p.ring.remove(id) })
}

// rotate changes the ring and reports its key ids to all.
func (p *Pool) rotate(step func() error) error {
	if err := step(); err != nil {
		return err
	}
	return p.SetMeta(func(*Meta) {})
}
