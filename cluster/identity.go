package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/oklog/ulid/v2"
)

// identityFile holds a node's identity inside its data directory.
const identityFile = "node.json"

// identityForm is the form of the identity file.
const identityForm = 1

// Identity is who a node is and which of its starts this is. It belongs to the
// data directory: a node with an empty directory is a new node.
type Identity struct {
	NodeID      string // ULID, made once
	ClusterID   string // ULID; "" until the node belongs to a cluster
	Incarnation uint64 // counts starts; fences what earlier starts left behind

	// Unclean tells that the last run did not end by CleanShutdown.
	Unclean bool
	// Rebooted tells that since an unclean run the machine has started anew (or
	// may have): what that run had not synced can be lost.
	Rebooted bool

	dir  string
	file identityJSON
	lock *os.File
}

type identityJSON struct {
	Form        int    `json:"form"`
	NodeID      string `json:"node_id"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Incarnation uint64 `json:"incarnation"`
	BootID      string `json:"boot_id,omitempty"`
	Clean       bool   `json:"clean"`
}

// ErrInUse proves that another process works in the data directory.
var ErrInUse = errors.New("data directory is in use by another process")

// LoadIdentity reads the identity in dir, makes one in an empty directory, and
// begins a new incarnation: the file says so durably before it returns. It
// keeps other processes out of the directory until the identity is closed.
func LoadIdentity(dir string) (*Identity, error) { return loadIdentity(dir, bootID) }

func loadIdentity(dir string, boot func() string) (*Identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	id := &Identity{dir: dir, lock: lock}
	if err := id.begin(boot()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return id, nil
}

func (id *Identity) begin(boot string) error {
	path := filepath.Join(id.dir, identityFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		node, err := NewID()
		if err != nil {
			return fmt.Errorf("make node id: %w", err)
		}
		id.file = identityJSON{Form: identityForm, NodeID: node, Clean: true}
	case err != nil:
		return fmt.Errorf("read node identity: %w", err)
	default:
		if err := json.Unmarshal(text, &id.file); err != nil {
			return fmt.Errorf("read node identity %s: %w; restore the file from a backup", path, err)
		}
		if id.file.Form > identityForm {
			return fmt.Errorf("read node identity %s: form %d is of a newer release", path, id.file.Form)
		}
		if _, err := ulid.ParseStrict(id.file.NodeID); err != nil {
			return fmt.Errorf("read node identity %s: node id %q: %w; restore the file from a backup", path, id.file.NodeID, err)
		}
	}
	id.Unclean = !id.file.Clean
	// A machine that does not tell its boots apart may have been started anew:
	// the safe guess costs credit, the other one could cost money.
	id.Rebooted = id.Unclean && (boot == "" || id.file.BootID != boot)
	id.file.Incarnation++
	id.file.BootID, id.file.Clean = boot, false
	if err := id.write(); err != nil {
		return err
	}
	id.NodeID, id.ClusterID, id.Incarnation = id.file.NodeID, id.file.ClusterID, id.file.Incarnation
	return nil
}

// NewIdentity is an identity that no directory keeps, for simulations.
func NewIdentity(node, cluster string, incarnation uint64) *Identity {
	return &Identity{NodeID: node, ClusterID: cluster, Incarnation: incarnation,
		file: identityJSON{Form: identityForm, NodeID: node, ClusterID: cluster, Incarnation: incarnation}}
}

// ErrOtherCluster proves that the data directory belongs to another cluster.
var ErrOtherCluster = errors.New("data directory belongs to another cluster")

// SetCluster records durably, and for good, which cluster the node belongs to.
func (id *Identity) SetCluster(cluster string) error {
	switch id.ClusterID {
	case cluster:
		return nil
	case "":
	default:
		return fmt.Errorf("%w: %s, not %s", ErrOtherCluster, id.ClusterID, cluster)
	}
	id.file.ClusterID = cluster
	if err := id.write(); err != nil {
		return err
	}
	id.ClusterID = cluster
	return nil
}

// Anew makes the directory that of a new node: what it was a member of has
// taken it out, and a node id is used once. Starts go on being counted.
func (id *Identity) Anew() error {
	node, err := NewID()
	if err != nil {
		return fmt.Errorf("make node id: %w", err)
	}
	id.file.NodeID, id.file.ClusterID = node, ""
	if err := id.write(); err != nil {
		return err
	}
	id.NodeID, id.ClusterID = node, ""
	return nil
}

// CleanShutdown records that this run ended in order, and closes the identity.
// It is called last, when everything else is durable.
func (id *Identity) CleanShutdown() error {
	id.file.Clean = true
	return errors.Join(id.write(), id.Close())
}

// Close lets other processes into the directory. Without CleanShutdown before,
// the next start finds that this run broke off.
func (id *Identity) Close() error {
	if id.lock == nil {
		return nil
	}
	err := id.lock.Close()
	id.lock = nil
	return err
}

// write replaces the file as a whole: after a crash it is the old or the new.
func (id *Identity) write() error {
	if id.dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(id.file, "", "  ")
	if err != nil {
		return fmt.Errorf("write node identity: %w", err)
	}
	path := filepath.Join(id.dir, identityFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write node identity: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(id.dir)
	}
	if err != nil {
		return fmt.Errorf("write node identity: %w", err)
	}
	return nil
}

// NewID makes a ULID: sortable by time, unique without asking anybody.
func NewID() (string, error) {
	u, err := ulid.New(ulid.Now(), rand.Reader)
	return u.String(), err
}

// bootID names this start of the machine, "" where the system does not.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
