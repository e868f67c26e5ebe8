package project

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
)

// Markers of the forms in which LiteLLM keeps secrets; the oldest has none.
const (
	markV2 = "v2:gcm:"
	markV3 = "v3:gcm:"
	infoV3 = "litellm-at-rest-v3"
)

const nonceSize = 24 // of secretbox

// errUnreadable proves that no key at hand opens a value, or that it is none.
var errUnreadable = errors.New("not encrypted with a key at hand")

// atRest reads and writes single values as LiteLLM encrypts them in its tables.
type atRest struct {
	keys []atRestKey // the first one writes
}

type atRestKey struct {
	plain [32]byte // SHA-256 of the signing key: the older forms
	v3    [32]byte
}

// newAtRest takes the signing keys in the order in which they are tried; empty
// ones are left out.
func newAtRest(signing ...string) atRest {
	var a atRest
	for i, s := range signing {
		if s == "" || i > 0 && s == signing[0] {
			continue
		}
		k := atRestKey{plain: sha256.Sum256([]byte(s))}
		if derived, err := hkdf.Key(sha256.New, []byte(s), nil, infoV3, 32); err == nil {
			k.v3 = [32]byte(derived)
		}
		a.keys = append(a.keys, k)
	}
	return a
}

func (a *atRest) ready() bool { return len(a.keys) > 0 }

// encrypt writes the oldest form, which every LiteLLM reads. As there, an empty
// string stays as it is.
func (a *atRest) encrypt(plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return "", fmt.Errorf("encrypt a parameter: %w", err)
	}
	return base64.URLEncoding.EncodeToString(secretbox.Seal(nonce[:], []byte(plain), &nonce, &a.keys[0].plain)), nil
}

// decrypt reads any of the three forms.
func (a *atRest) decrypt(stored string) (string, error) {
	open, text := openBox, stored
	if rest, ok := strings.CutPrefix(stored, markV2); ok {
		open, text = func(k *atRestKey, raw []byte) ([]byte, bool) { return openGCM(&k.plain, raw) }, rest
	} else if rest, ok := strings.CutPrefix(stored, markV3); ok {
		open, text = func(k *atRestKey, raw []byte) ([]byte, bool) { return openGCM(&k.v3, raw) }, rest
	}
	raw, ok := decode64(text)
	if !ok {
		return "", errUnreadable
	}
	for i := range a.keys {
		if plain, ok := open(&a.keys[i], raw); ok {
			return string(plain), nil
		}
	}
	return "", errUnreadable
}

// marked reports whether a value says of itself that it is encrypted.
func marked(stored string) bool {
	return strings.HasPrefix(stored, markV2) || strings.HasPrefix(stored, markV3)
}

// decode64 reads either alphabet, with padding or without.
func decode64(text string) ([]byte, bool) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	enc := base64.RawURLEncoding
	if strings.ContainsAny(text, "+/") {
		enc = base64.RawStdEncoding
	}
	raw, err := enc.DecodeString(text)
	return raw, err == nil
}

func openBox(k *atRestKey, raw []byte) ([]byte, bool) {
	if len(raw) < nonceSize+secretbox.Overhead {
		return nil, false
	}
	nonce := [nonceSize]byte(raw)
	return secretbox.Open(nil, raw[nonceSize:], &nonce, &k.plain)
}

func openGCM(key *[32]byte, raw []byte) ([]byte, bool) {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, false
	}
	g, err := cipher.NewGCM(b)
	if err != nil || len(raw) < g.NonceSize()+g.Overhead() {
		return nil, false
	}
	plain, err := g.Open(nil, raw[:g.NonceSize()], raw[g.NonceSize():], nil)
	return plain, err == nil
}
