// Package secret keeps secrets unreadable wherever they rest: it seals values
// under the cluster's data key before they are proposed, opens them on the node
// that uses them, wraps the data key under the operator's key, and masks what
// would otherwise reach a log. It decides nothing about who may see a secret
// and never logs or stores plaintext.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const keySize = 32

// KEKFile is the name of the key file that a node makes for itself.
const KEKFile = "kek"

var (
	// ErrWrongKEK proves that the key-encryption key given is not the one the
	// data key was wrapped with, or that the wrapped data key was damaged.
	ErrWrongKEK = errors.New("the key-encryption key does not open this cluster's data key: " +
		"start with the LITELLM_SALT_KEY or TOLLGATE_KEK that the cluster was started with")
)

// kekBytes is one key.
type kekBytes [keySize]byte

// fingerprint names a key without telling it.
func (k kekBytes) fingerprint() string {
	sum := sha256.Sum256(append([]byte("tollgate kek id\x00"), k[:]...))
	return hex.EncodeToString(sum[:4])
}

// KEK is the key-encryption key: the operator's secret, which never enters the
// replicated state. Beside the key that wraps it holds others that open: those
// of the key file, from before the operator gave a key or from a rotation.
type KEK struct {
	keys []kekBytes // the first wraps; never changed in place
}

// LoadKEK derives the key from the operator's text, or without one reads the
// key file in dir, which is made (mode 0600) when it is missing.
func LoadKEK(text, dir string) (*KEK, error) {
	kept, err := readKEK(filepath.Join(dir, KEKFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if text = strings.TrimSpace(text); text != "" {
		k, err := deriveKEK(text)
		if err != nil {
			return nil, err
		}
		return k.with(kept...), nil
	}
	if len(kept) > 0 {
		return &KEK{keys: kept}, nil
	}
	var key kekBytes
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("make key-encryption key: %w", err)
	}
	k := &KEK{keys: []kekBytes{key}}
	return k, writeKEK(dir, k.keys)
}

// with is the same key with others that open beside it.
func (k *KEK) with(others ...kekBytes) *KEK {
	keys := slices.Clone(k.keys)
	for _, o := range others {
		if !slices.Contains(keys, o) {
			keys = append(keys, o)
		}
	}
	return &KEK{keys: keys}
}

// find is the key with a fingerprint.
func (k *KEK) find(fingerprint string) (kekBytes, bool) {
	for _, key := range k.keys {
		if key.fingerprint() == fingerprint {
			return key, true
		}
	}
	return kekBytes{}, false
}

// Fingerprint names the key that wraps, without telling it.
func (k *KEK) Fingerprint() string { return k.keys[0].fingerprint() }

// Export is the key with a fingerprint in the form of the key file, for a node
// that joins over a channel that is safe. It is "" for a key that is not held.
func (k *KEK) Export(fingerprint string) string {
	key, ok := k.find(fingerprint)
	if !ok {
		return ""
	}
	return base64.StdEncoding.EncodeToString(key[:])
}

// StoreKEK puts an exported key first in the key file of dir; keys that stand
// there already go on opening.
func StoreKEK(dir, exported string) error {
	key, err := parseKEK(exported)
	if err != nil {
		return fmt.Errorf("keep key-encryption key: %w", err)
	}
	kept, err := readKEK(filepath.Join(dir, KEKFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeKEK(dir, (&KEK{keys: []kekBytes{key}}).with(kept...).keys)
}

// ForgetKEKs takes the keys with these fingerprints out of the key file of dir,
// when what they wrapped is gone. The last key is never taken.
func ForgetKEKs(dir string, fingerprints []string) error {
	kept, err := readKEK(filepath.Join(dir, KEKFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(kept), func(k kekBytes) bool { return slices.Contains(fingerprints, k.fingerprint()) })
	if len(left) == 0 || len(left) == len(kept) {
		return nil
	}
	return writeKEK(dir, left)
}

// KEKFromText derives the key from the operator's text alone.
func KEKFromText(text string) (*KEK, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, errors.New("derive key-encryption key: the text is empty")
	}
	return deriveKEK(text)
}

func deriveKEK(text string) (*KEK, error) {
	b, err := hkdf.Key(sha256.New, []byte(text), nil, "tollgate kek v1", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key-encryption key: %w", err)
	}
	return &KEK{keys: []kekBytes{kekBytes(b)}}, nil
}

// readKEK reads the key file: one key a line, the newest first.
func readKEK(path string) ([]kekBytes, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key-encryption key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key-encryption key %s: others can read it (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key-encryption key: %w", err)
	}
	var keys []kekBytes
	for line := range strings.Lines(strings.TrimSpace(string(text)) + "\n") {
		key, err := parseKEK(line)
		if err != nil {
			return nil, fmt.Errorf("read key-encryption key %s: %w; restore the file from a backup", path, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKEK(line string) (key kekBytes, err error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || len(b) != keySize {
		return key, fmt.Errorf("want %d bytes in base64", keySize)
	}
	return kekBytes(b), nil
}

// writeKEK replaces the key file. A crash must leave the whole file or none:
// what is sealed under a key that was half written is lost.
func writeKEK(dir string, keys []kekBytes) error {
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(base64.StdEncoding.EncodeToString(k[:]) + "\n")
	}
	path := filepath.Join(dir, KEKFile)
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep key-encryption key: %w", err)
	}
	_, err = f.WriteString(text.String())
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("keep key-encryption key: %w", err)
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

// wrapContext binds a wrapped data key to its cluster.
func wrapContext(cluster string) []byte { return []byte("tollgate dek v1\x00" + cluster) }

// wrapVersion heads every wrapped data key.
const wrapVersion = 1

// wrap seals a data key for the replicated state.
func (k kekBytes) wrap(cluster string, dek [keySize]byte) ([]byte, error) {
	g, err := gcm(k)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, g.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("wrap data key: %w", err)
	}
	return g.Seal(append([]byte{wrapVersion}, nonce...), nonce, dek[:], wrapContext(cluster)), nil
}

// unwrap opens a wrapped data key; with is the fingerprint of the key that did.
func (k *KEK) unwrap(cluster string, wrapped []byte) (dek [keySize]byte, with string, err error) {
	if len(wrapped) == 0 || wrapped[0] != wrapVersion {
		return dek, "", errors.New("open data key: its form is not known to this release")
	}
	for _, key := range k.keys {
		g, err := gcm(key)
		if err != nil {
			return dek, "", err
		}
		if len(wrapped) < 1+g.NonceSize() {
			break
		}
		plain, err := g.Open(nil, wrapped[1:1+g.NonceSize()], wrapped[1+g.NonceSize():], wrapContext(cluster))
		if err == nil && len(plain) == keySize {
			copy(dek[:], plain)
			return dek, key.fingerprint(), nil
		}
	}
	return dek, "", ErrWrongKEK
}

func gcm(key [keySize]byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return cipher.NewGCM(b)
}
