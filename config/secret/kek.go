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
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// KEK is the key-encryption key: the operator's secret, which never enters the
// replicated state.
type KEK struct {
	key    [keySize]byte
	others [][keySize]byte // open, but never wrap: a key file made before the operator gave a key
}

// LoadKEK derives the key from the operator's text, or without one reads the
// key file in dir, which is made (mode 0600) when it is missing.
func LoadKEK(text, dir string) (*KEK, error) {
	path := filepath.Join(dir, KEKFile)
	if text = strings.TrimSpace(text); text != "" {
		k, err := deriveKEK(text)
		if err != nil {
			return nil, err
		}
		if old, err := readKEK(path); err == nil {
			k.others = append(k.others, old)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return k, nil
	}
	key, err := readKEK(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKEK(path)
	}
	if err != nil {
		return nil, err
	}
	return &KEK{key: key}, nil
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
	k := &KEK{}
	copy(k.key[:], b)
	return k, nil
}

func readKEK(path string) (key [keySize]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return key, fmt.Errorf("read key-encryption key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key, fmt.Errorf("read key-encryption key %s: others can read it (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return key, fmt.Errorf("read key-encryption key: %w", err)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != keySize {
		return key, fmt.Errorf("read key-encryption key %s: want %d bytes in base64; restore the file from a backup", path, keySize)
	}
	copy(key[:], b)
	return key, nil
}

func makeKEK(path string) (key [keySize]byte, err error) {
	if _, err := rand.Read(key[:]); err != nil {
		return key, fmt.Errorf("make key-encryption key: %w", err)
	}
	// A crash must leave the whole key or none: what is sealed under a key that
	// was half written is lost.
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return key, fmt.Errorf("make key-encryption key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return key, fmt.Errorf("make key-encryption key: %w", err)
	}
	return key, nil
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
func (k *KEK) wrap(cluster string, dek [keySize]byte) ([]byte, error) {
	g, err := gcm(k.key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, g.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("wrap data key: %w", err)
	}
	return g.Seal(append([]byte{wrapVersion}, nonce...), nonce, dek[:], wrapContext(cluster)), nil
}

// unwrap opens a wrapped data key; current is false when it took a key that no
// longer is the one to wrap with.
func (k *KEK) unwrap(cluster string, wrapped []byte) (dek [keySize]byte, current bool, err error) {
	if len(wrapped) == 0 || wrapped[0] != wrapVersion {
		return dek, false, errors.New("open data key: its form is not known to this release")
	}
	for i, key := range append([][keySize]byte{k.key}, k.others...) {
		g, err := gcm(key)
		if err != nil {
			return dek, false, err
		}
		if len(wrapped) < 1+g.NonceSize() {
			break
		}
		plain, err := g.Open(nil, wrapped[1:1+g.NonceSize()], wrapped[1+g.NonceSize():], wrapContext(cluster))
		if err == nil && len(plain) == keySize {
			copy(dek[:], plain)
			return dek, i == 0, nil
		}
	}
	return dek, false, ErrWrongKEK
}

func gcm(key [keySize]byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return cipher.NewGCM(b)
}
