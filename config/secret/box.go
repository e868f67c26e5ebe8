package secret

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
)

// prefix heads every sealed value; its version names the layout behind it.
const prefix = "sealed:v1:"

var (
	// ErrNoKey is returned while no data key is known: before the first one is
	// committed, or for a value sealed under a key that was dropped.
	ErrNoKey = errors.New("data key is not known")
	// ErrSealed proves that a sealed value is damaged or was moved from another
	// record or field.
	ErrSealed = errors.New("sealed value does not open here")
)

// idSize is the length of a data key's id: enough to tell the few keys of a
// rotation apart.
const idSize = 4

type keyID [idSize]byte

// Box seals and opens values. It is made with the KEK alone and learns the data
// keys from the replicated state. Methods may be called at any time from any
// goroutine; Install belongs to one.
type Box struct {
	kek  atomic.Pointer[KEK] // replaced whole when a key is learned
	keys atomic.Pointer[keySet]
}

type keySet struct {
	newest keyID
	dek    [keySize]byte // the newest
	gcms   map[keyID]cipher.AEAD
}

// NewBox makes a box that knows no data key yet.
func NewBox(kek *KEK) *Box {
	b := &Box{}
	b.kek.Store(kek)
	return b
}

// KEK is the key-encryption key with all that opens beside it.
func (b *Box) KEK() *KEK { return b.kek.Load() }

// Learn lets another key-encryption key, in the form of Export, open from now
// on. It wraps only what Rewrap is told to.
func (b *Box) Learn(exported string) (fingerprint string, err error) {
	key, err := parseKEK(exported)
	if err != nil {
		return "", fmt.Errorf("learn key-encryption key: %w", err)
	}
	for {
		old := b.kek.Load()
		if b.kek.CompareAndSwap(old, old.with(key)) {
			return key.fingerprint(), nil
		}
	}
}

// NewDataKey makes a data key and returns it wrapped, ready to be committed.
func (b *Box) NewDataKey(cluster string) (wrapped []byte, err error) {
	all, err := b.NewDataKeyUnder(cluster, b.kek.Load().Fingerprint())
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// NewDataKeyUnder makes a data key and returns it wrapped with each of the
// key-encryption keys named.
func (b *Box) NewDataKeyUnder(cluster string, fingerprints ...string) (wrapped [][]byte, err error) {
	var dek [keySize]byte
	if _, err := rand.Read(dek[:]); err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	for _, f := range fingerprints {
		key, ok := b.kek.Load().find(f)
		if !ok {
			return nil, fmt.Errorf("wrap data key with %s: %w", f, ErrWrongKEK)
		}
		w, err := key.wrap(cluster, dek)
		if err != nil {
			return nil, err
		}
		wrapped = append(wrapped, w)
	}
	return wrapped, nil
}

// Install takes a wrapped data key into use: what is sealed from now on is
// sealed under it. with is the fingerprint of the key-encryption key that
// opened it.
func (b *Box) Install(cluster string, wrapped []byte) (with string, err error) {
	dek, with, err := b.kek.Load().unwrap(cluster, wrapped)
	if err != nil {
		return "", err
	}
	g, err := gcm(dek)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(dek[:])
	next := &keySet{newest: keyID(sum[:idSize]), dek: dek, gcms: map[keyID]cipher.AEAD{}}
	if old := b.keys.Load(); old != nil {
		maps.Copy(next.gcms, old.gcms)
	}
	next.gcms[next.newest] = g
	b.keys.Store(next)
	return with, nil
}

// Rewrap is a data key wrapped anew, with the key-encryption key of a
// fingerprint; both keys must be held.
func (b *Box) Rewrap(cluster string, wrapped []byte, fingerprint string) ([]byte, error) {
	kek := b.kek.Load()
	key, ok := kek.find(fingerprint)
	if !ok {
		return nil, fmt.Errorf("wrap data key with %s: %w", fingerprint, ErrWrongKEK)
	}
	dek, _, err := kek.unwrap(cluster, wrapped)
	if err != nil {
		return nil, err
	}
	return key.wrap(cluster, dek)
}

// Derive is a key for a purpose that all nodes of the cluster share and nobody
// else knows, such as naming credentials in messages.
func (b *Box) Derive(purpose string) (key [keySize]byte, err error) {
	keys := b.keys.Load()
	if keys == nil {
		return key, fmt.Errorf("derive a key for %s: %w", purpose, ErrNoKey)
	}
	out, err := hkdf.Key(sha256.New, keys.dek[:], nil, "tollgate "+purpose, keySize)
	if err != nil {
		return key, fmt.Errorf("derive a key for %s: %w", purpose, err)
	}
	return [keySize]byte(out), nil
}

// Ready reports whether a data key is known.
func (b *Box) Ready() bool { return b.keys.Load() != nil }

// IsSealed reports whether s is a sealed value.
func IsSealed(s string) bool { return strings.HasPrefix(s, prefix) }

// Seal makes the text form of a sealed value. Entity and field are bound into
// it: the value opens only where it was sealed for.
func (b *Box) Seal(entity, field, plain string) (string, error) {
	keys := b.keys.Load()
	if keys == nil {
		return "", fmt.Errorf("seal %s of %s: %w", field, entity, ErrNoKey)
	}
	g := keys.gcms[keys.newest]
	out := make([]byte, idSize+g.NonceSize(), idSize+g.NonceSize()+len(plain)+g.Overhead())
	copy(out, keys.newest[:])
	if _, err := rand.Read(out[idSize:]); err != nil {
		return "", fmt.Errorf("seal %s of %s: %w", field, entity, err)
	}
	out = g.Seal(out, out[idSize:], []byte(plain), place(entity, field))
	return prefix + base64.RawURLEncoding.EncodeToString(out), nil
}

// Newest reports whether a value is sealed under the newest data key, or not at
// all: what is not has to be sealed anew before an older key can go.
func (b *Box) Newest(sealed string) bool {
	if !IsSealed(sealed) {
		return true
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed[len(prefix):])
	keys := b.keys.Load()
	return err == nil && len(raw) >= idSize && keys != nil && keyID(raw[:idSize]) == keys.newest
}

// NewestIn reports whether no value that stands sealed in a JSON text is under
// an older data key.
func (b *Box) NewestIn(text []byte) bool {
	for {
		i := bytes.Index(text, []byte(prefix))
		if i < 0 {
			return true
		}
		text = text[i:]
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			end = len(text)
		}
		if !b.Newest(string(text[:end])) {
			return false
		}
		text = text[end:]
	}
}

// Reseal is a sealed value under the newest data key.
func (b *Box) Reseal(entity, field, sealed string) (string, error) {
	if b.Newest(sealed) {
		return sealed, nil
	}
	plain, err := b.Open(entity, field, sealed)
	if err != nil {
		return "", err
	}
	return b.Seal(entity, field, plain)
}

// Open gives back what was sealed. A value that is not sealed is returned as it
// is: plaintext from before there was a key stays usable.
func (b *Box) Open(entity, field, sealed string) (string, error) {
	if !IsSealed(sealed) {
		return sealed, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed[len(prefix):])
	if err != nil || len(raw) < idSize {
		return "", fmt.Errorf("open %s of %s: %w", field, entity, ErrSealed)
	}
	keys := b.keys.Load()
	if keys == nil {
		return "", fmt.Errorf("open %s of %s: %w", field, entity, ErrNoKey)
	}
	g, ok := keys.gcms[keyID(raw[:idSize])]
	if !ok {
		return "", fmt.Errorf("open %s of %s: %w", field, entity, ErrNoKey)
	}
	if len(raw) < idSize+g.NonceSize() {
		return "", fmt.Errorf("open %s of %s: %w", field, entity, ErrSealed)
	}
	plain, err := g.Open(nil, raw[idSize:idSize+g.NonceSize()], raw[idSize+g.NonceSize():], place(entity, field))
	if err != nil {
		return "", fmt.Errorf("open %s of %s: %w", field, entity, ErrSealed)
	}
	return string(plain), nil
}

// place is the associated data of a value. The length keeps "a"+"bc" and
// "ab"+"c" apart.
func place(entity, field string) []byte {
	var b bytes.Buffer
	b.Write(binary.AppendUvarint(nil, uint64(len(entity))))
	b.WriteString(entity)
	b.WriteString(field)
	return b.Bytes()
}
