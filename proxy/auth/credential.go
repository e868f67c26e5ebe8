// Package auth turns the bytes of a key into a principal and says what that
// principal may do: which routes, which models, under which limits and budgets.
// It reads one snapshot and asks nobody.
package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/refusal"
)

// Hash is the SHA-256 of a whole key, lowercase hex: how keys are stored and
// named everywhere.
func Hash(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// keyHeaders are where clients put their key after Authorization, in the order
// they are tried: Azure's, Anthropic's, Google's and API Management's clients.
var keyHeaders = []string{"API-Key", "x-api-key", "x-goog-api-key", "Ocp-Apim-Subscription-Key"}

// Credential finds the caller's key. custom, when set, is the one header that
// counts (general_settings.litellm_key_header_name). The returned slice aliases
// the request.
func Credential(h *fasthttp.RequestHeader, custom string) ([]byte, *refusal.Refusal) {
	if custom != "" {
		if v := h.Peek(custom); len(v) > 0 {
			return stripBearer(v), nil
		}
		return nil, noKey()
	}
	if v := h.Peek("x-litellm-api-key"); len(v) > 0 {
		return stripBearer(v), nil
	}
	authorization := h.Peek("Authorization")
	if key, ok := fromAuthorization(authorization); ok {
		return key, nil
	}
	for _, name := range keyHeaders {
		if v := h.Peek(name); len(v) > 0 {
			return v, nil
		}
	}
	if len(authorization) > 0 {
		return nil, refusal.New(401, "auth_error", refusal.None,
			"Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.")
	}
	return nil, noKey()
}

func noKey() *refusal.Refusal {
	return refusal.New(401, "auth_error", refusal.None, "Authentication Error, No api key passed in.")
}

// fromAuthorization reads the schemes that LiteLLM reads: Bearer, Basic (the raw
// text behind it, for Langfuse clients) and an AWS signature whose credential
// is a bearer key.
func fromAuthorization(v []byte) ([]byte, bool) {
	switch {
	case hasPrefixFold(v, "bearer "):
		key := bytes.TrimSpace(v[len("bearer "):])
		return key, len(key) > 0
	case hasPrefixFold(v, "basic "):
		key := bytes.TrimSpace(v[len("basic "):])
		return key, len(key) > 0
	case hasPrefixFold(v, "aws4-hmac-sha256"):
		const mark = "Credential=Bearer "
		i := bytes.Index(v, []byte(mark))
		if i < 0 {
			return nil, false
		}
		rest := v[i+len(mark):]
		if j := bytes.IndexByte(rest, '/'); j >= 0 {
			rest = rest[:j]
		}
		return bytes.TrimSpace(rest), len(rest) > 0
	}
	return nil, false
}

func stripBearer(v []byte) []byte {
	if hasPrefixFold(v, "bearer ") {
		return bytes.TrimSpace(v[len("bearer "):])
	}
	return v
}

func hasPrefixFold(v []byte, prefix string) bool {
	return len(v) >= len(prefix) && bytes.EqualFold(v[:len(prefix)], []byte(prefix))
}

// Abbreviated shows a key as LiteLLM does in "unknown key" errors: sk-...abcd.
func Abbreviated(key []byte) string {
	if len(key) < 4 {
		return "sk-..."
	}
	return "sk-..." + string(key[len(key)-4:])
}

// masked shows the ends of something that was expected to be a key.
func masked(key []byte) string {
	if len(key) <= 8 {
		return string(bytes.Repeat([]byte("*"), len(key)))
	}
	return string(key[:4]) + "****" + string(key[len(key)-4:])
}
