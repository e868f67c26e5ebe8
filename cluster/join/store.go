package join

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tollgate/cluster/members"
)

// The files of a node's part in the cluster, below its data directory.
const (
	Dir        = "cluster"
	keyFile    = "node.key"
	certFile   = "node.crt"
	caFile     = "ca.crt"
	gossipFile = "gossip.keys"
	peersFile  = "peers.json"
	ballotFile = "forming.json"
)

// storeForm is the form of the JSON files.
const storeForm = 1

// ErrNotJoined proves that the node has no certificate: it has not joined yet.
var ErrNotJoined = errors.New("this node has not joined a cluster")

// ExpiredError tells that the node's certificate has run out, which happens to
// a node that was off for weeks.
type ExpiredError struct{ At time.Time }

// Error says how to mend it.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the certificate of this node expired at %s: join again with a token from a running node "+
		"(tollgate join HOST:PORT --token TOKEN), or start with the cluster's --cluster-secret and --peers to renew it",
		e.At.UTC().Format("2006-01-02 15:04:05 MST"))
}

// Store keeps the files. Each is replaced as a whole: after a crash it is the
// old or the new one.
type Store struct{ dir string }

// OpenStore is the store in a node's data directory.
func OpenStore(data string) (*Store, error) {
	dir := filepath.Join(data, Dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return &Store{dir}, nil
}

// Key is the node's private key, made when there is none. It stays the same
// over retries of a join, which makes them harmless, and over renewals.
func (s *Store) Key() (*ecdsa.PrivateKey, error) {
	path := s.path(keyFile)
	text, err := s.readSecret(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make the node's key: %w", err)
		}
		text, err := keyPEM(key)
		if err != nil {
			return nil, fmt.Errorf("make the node's key: %w", err)
		}
		return key, s.write(keyFile, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; restore it from a backup, or remove it and join again", path, err)
	}
	return key, nil
}

// Identity reads the node's certificate and checks it. An *ExpiredError comes
// with the identity all the same.
func (s *Store) Identity(node string, now time.Time) (*Identity, error) {
	cert, err := os.ReadFile(s.path(certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotJoined
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	ca, err := os.ReadFile(s.path(caFile))
	if errors.Is(err, fs.ErrNotExist) { // SaveCertificate writes it first: it was lost
		return nil, fmt.Errorf("%w, or %s was lost", ErrNotJoined, s.path(caFile))
	}
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	key, err := s.Key()
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(node, key, string(cert), string(ca))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: restore the files from a backup, or remove %s and join again", s.dir, err, s.path(certFile))
	}
	switch {
	case !now.Before(id.NotAfter):
		return id, &ExpiredError{id.NotAfter}
	case now.Before(id.NotBefore):
		return nil, fmt.Errorf("the certificate of this node is valid from %s on, the clock says %s: set the clock",
			id.NotBefore.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	return id, nil
}

// SaveCertificate keeps a certificate of the node's key. The authority's comes
// first: without the node's own the node has not joined.
func (s *Store) SaveCertificate(cert, ca string) error {
	if err := s.write(caFile, []byte(ca), 0o644); err != nil {
		return err
	}
	return s.write(certFile, []byte(cert), 0o644)
}

// Accept keeps what a join brought, the node's certificate last. The key that
// opens the state must have been kept before.
func (s *Store) Accept(w *Welcome) error {
	if err := s.SaveKeys(w.Keys, w.Primary); err != nil {
		return err
	}
	if err := s.SavePeers(PeersOf(w.ClusterID, w.Generation, w.Members)); err != nil {
		return err
	}
	return s.SaveCertificate(w.Cert, w.CA)
}

type gossipJSON struct {
	Form    int      `json:"form"`
	Primary string   `json:"primary"`
	Keys    []RawKey `json:"keys"`
}

// SaveKeys keeps the gossip keys, so that gossip can start before the
// replicated state is readable.
func (s *Store) SaveKeys(keys []RawKey, primary string) error {
	return s.writeJSON(gossipFile, gossipJSON{storeForm, primary, keys}, 0o600)
}

// Keys are the gossip keys last kept; none when there are none.
func (s *Store) Keys() (keys []RawKey, primary string, err error) {
	text, err := s.readSecret(gossipFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	var g gossipJSON
	if err := s.parse(gossipFile, text, &g, &g.Form); err != nil {
		return nil, "", err
	}
	for _, k := range g.Keys {
		if len(k.Key) != gossipKeySize || KeyID(k.Key) != k.ID {
			return nil, "", fmt.Errorf("read %s: key %s is damaged: restore the file from a backup, or join again", s.path(gossipFile), k.ID)
		}
	}
	return g.Keys, g.Primary, nil
}

// gossipKeySize makes the gossip's cipher AES-256.
const gossipKeySize = 32

// KeyID names a gossip key without telling it.
func KeyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:4])
}

// Peers are the members as this node last knew them: whom to call at a start.
type Peers struct {
	Form       int    `json:"form"`
	ClusterID  string `json:"cluster_id"`
	Generation uint64 `json:"generation"`
	// Lived tells that the list comes from this node's own state, not from its
	// welcome alone: then there is a log, and this node may have voted by it.
	Lived   bool   `json:"lived,omitempty"`
	Members []Peer `json:"members"`
}

// Peer is the member with an id.
func (p *Peers) Peer(id string) (Peer, bool) {
	for _, m := range p.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Peer{}, false
}

// Peer is one of them.
type Peer struct {
	ID     string       `json:"id"`
	Name   string       `json:"name,omitempty"`
	Region string       `json:"region,omitempty"`
	Role   members.Role `json:"role,omitempty"` // this node's own: a restart has no token to tell it
	Addr   string       `json:"addr"`
}

// PeersOf makes the list out of the members.
func PeersOf(cluster string, generation uint64, nodes []members.Node) Peers {
	p := Peers{ClusterID: cluster, Generation: generation}
	for _, n := range nodes {
		p.Members = append(p.Members, Peer{n.ID, n.Name, n.Region, n.Role, n.Addr})
	}
	return p
}

// SavePeers keeps the list.
func (s *Store) SavePeers(p Peers) error {
	p.Form = storeForm
	return s.writeJSON(peersFile, p, 0o644)
}

// Peers is the list last kept; an empty one when there is none.
func (s *Store) Peers() (Peers, error) {
	var p Peers
	text, err := os.ReadFile(s.path(peersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the known members: %w", err)
	}
	return p, s.parse(peersFile, text, &p, &p.Form)
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// readSecret refuses a file that others can read: it may have leaked.
func (s *Store) readSecret(name string) ([]byte, error) {
	path := s.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read %s: others can read it (mode %04o): run chmod 600 on it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

func (s *Store) parse(name string, text []byte, v any, form *int) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w; restore the file from a backup, or remove it", s.path(name), err)
	}
	if *form != storeForm {
		return fmt.Errorf("read %s: form %d is of another release", s.path(name), *form)
	}
	return nil
}

func (s *Store) writeJSON(name string, v any, mode os.FileMode) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return s.write(name, append(text, '\n'), mode)
}

func (s *Store) write(name string, text []byte, mode os.FileMode) error {
	path := s.path(name)
	// A name of its own: a file left over from before may have another mode.
	f, err := os.CreateTemp(s.dir, name+".*.new")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
