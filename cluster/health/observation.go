package health

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Outcome is how one call to a provider ended.
type Outcome uint8

// The outcomes. Those of the caller's own making (a bad request, a client that
// went away) say nothing about the provider and are not reported.
const (
	OK Outcome = iota
	RateLimited
	Quota       // the account is exhausted
	Auth        // the credential is refused
	ServerError // 5xx, or an answer that is none
	Timeout
	Connect
	NotFound // the provider does not know the model
	outcomes
)

// String names the outcome; as the reason of a cooldown it is shown to people.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case RateLimited:
		return "rate_limited"
	case Quota:
		return "quota_exhausted"
	case Auth:
		return "credential_refused"
	case ServerError:
		return "server_errors"
	case Timeout:
		return "timeouts"
	case Connect:
		return "connection_errors"
	case NotFound:
		return "model_not_found"
	}
	return "unknown"
}

// path tells whether the outcome is about the way to the provider, which may be
// another from elsewhere.
func (o Outcome) path() bool { return o == ServerError || o == Timeout || o == Connect }

// Observation is one finished call.
type Observation struct {
	Deployment string
	Credential string // CredentialName of what was sent; "" when there was none
	Outcome    Outcome
	Late       bool // the call was told of as OK before: that does not count any more
	Policy     Policy
	ResetIn    time.Duration // what the provider said of when to come back, 0 if nothing
	Latency    time.Duration // of the whole call
	FirstToken time.Duration // 0: not a stream
	Tokens     int64         // of the answer, 0: unknown
	At         time.Time     // of the end; zero: now
}

// ID stands for a deployment or a credential in here and between nodes.
type ID uint64

// credentials and deployments share the maps.
const credentialSpace = 0x9e3779b97f4a7c15

func deploymentID(name string) ID { return ID(xxhash.Sum64String(name)) }

func credentialID(name string) ID { return ID(xxhash.Sum64String(name) ^ credentialSpace) }

// CredentialName names a provider credential: the same on all nodes that share
// the key, and of no use to who has not got it. It costs a microsecond, so make
// it when the routing changes and not for each call.
func CredentialName(key [32]byte, provider, secret string) string {
	if secret == "" {
		return ""
	}
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(provider))
	mac.Write([]byte{0})
	mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
