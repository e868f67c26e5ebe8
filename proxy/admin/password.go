package admin

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tollgate/proxy/refusal"
)

// passwordRounds is what OWASP asks of PBKDF2 with SHA-256.
const passwordRounds = 600_000

const passwordScheme = "pbkdf2-sha256"

// HashPassword makes what is kept of a password: scheme, rounds, salt, hash.
func HashPassword(random io.Reader, password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("salt a password: %w", err)
	}
	sum, err := pbkdf2.Key(sha256.New, password, salt, passwordRounds, 32)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	enc := base64.RawStdEncoding
	return strings.Join([]string{passwordScheme, strconv.Itoa(passwordRounds), enc.EncodeToString(salt), enc.EncodeToString(sum)}, "$"), nil
}

// PasswordMatches reports whether a password is the one that was hashed.
func PasswordMatches(hash, password string) bool {
	part := strings.Split(hash, "$")
	if len(part) != 4 || part[0] != passwordScheme {
		return false
	}
	rounds, err := strconv.Atoi(part[1])
	if err != nil || rounds < 1 || rounds > 10*passwordRounds {
		return false
	}
	enc := base64.RawStdEncoding
	salt, err1 := enc.DecodeString(part[2])
	want, err2 := enc.DecodeString(part[3])
	if err1 != nil || err2 != nil || len(want) != 32 {
		return false
	}
	sum, err := pbkdf2.Key(sha256.New, password, salt, rounds, 32)
	return err == nil && subtle.ConstantTimeCompare(sum, want) == 1
}

func (c *call) passwordHash(password field[string]) (string, *refusal.Refusal) {
	if !password.set {
		return "", nil
	}
	h, err := HashPassword(c.a.Rand, password.v)
	if err != nil {
		return "", c.noRandom(err)
	}
	return h, nil
}
