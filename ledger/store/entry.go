// Package store is the node's durable ledger: the only place where a finished
// request is written on the request's way. Everything else (queries, PostgreSQL,
// callbacks) reads it behind a durable cursor.
package store

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
)

// CallID is a call's 16-byte identity; its text form is a UUID.
type CallID [16]byte

// Charge is one budget that a call counts against: the window it was admitted
// in and, in an intent, the most it may cost.
type Charge struct {
	Scope  model.Scope
	Window int64 // start of the window, Unix seconds; 0 for endless
}

// Intent is what must be known of a call if the process dies before the call is
// settled. It is durable before the upstream hears of the call.
type Intent struct {
	CallID CallID
	// Incarnation under whose grants the call was admitted; Begin sets the
	// ledger's own when it is 0.
	Incarnation uint64
	At          time.Time
	Max         unit.Money // charged in full if the call is never settled
	Key         string     // key hash
	User        string
	Team        string
	EndUser     string
	Group       string
	CallType    string
	Deployment  string
	Charges     []Charge
}

// Status of an entry.
const (
	Success      = "success"
	Failure      = "failure"
	ClientClosed = "client_closed" // answered in part: the client left
	Interrupted  = "interrupted"   // the process died: charged at its maximum
)

// Entry is one finished call. Fields follow LiteLLM's SpendLogs; query turns
// them into its rows.
type Entry struct {
	Seq    uint64 // set by Settle: incarnation in the high 24 bits, counter below
	CallID CallID
	// Incarnation under whose grants the call was charged when it is not the
	// one of Seq: a start writes the rows of the calls its predecessor left.
	Incarnation uint64
	RequestID   string // provider's id, or "" for the call id
	CallType    string // acompletion, atext_completion, aembedding, anthropic_messages
	Status      string
	Start, End  time.Time
	FirstToken  time.Time // zero unless streamed

	Key, KeyAlias         string // key hash; litellm_proxy_master_key for the master key
	User, Team, TeamAlias string
	Organization          string
	EndUser               string
	RequestUser           string // body user, for spend_logs.user_column
	Group                 string // model group asked for
	Model                 string // model sent upstream, provider prefix added
	ModelID               string // deployment id
	Provider              string
	APIBase               string
	Region                string
	Node                  string // that served the call, by its name
	IP                    string
	Session               string
	Tags                  []string
	Metadata              []byte // client's metadata object, reserved names stripped
	SpendLogsMetadata     []byte // the free object of metadata.spend_logs_metadata

	Usage                               price.Usage
	RawUsage                            []byte
	Cost                                price.Cost
	Charges                             []Charge
	Max                                 unit.Money // what was reserved
	Attempts                            int
	MaxRetries                          int
	Fallbacks                           int
	Tried                               []Attempt // see Attempt for when there are any
	Stream                              bool
	CacheHit                            string
	CacheKey                            string     // under which the answer is kept; "" where nothing has to do with a cache
	Saved                               unit.Money // what a cache hit would have cost
	ErrorClass, ErrorCode, ErrorMessage string
	Refused                             *Refused      // by which limit or budget; nil: by none
	Overhead                            time.Duration // our own share of the duration
	Note                                string        // "unpriced", "charged at maximum after a crash", …
	// NoLog: the caller asked that no callback hears of the call. Its row and
	// its charge are as of any other.
	NoLog bool
	// BodiesUnlisted: the bodies are kept for callbacks only, rows do not show them.
	BodiesUnlisted bool
	// DataRegions are the regions that the call's data may be in, by the rule that
	// held when it was made; empty: anywhere. See residency for one that allows none.
	DataRegions []string

	// Bodies, kept only when the settings say so; stored apart from the entry.
	Messages, Response, Request []byte
	// Answer is what a repeated Idempotency-Key is given, whole; kept for a day,
	// apart from entry and bodies, and shown to nobody else.
	Answer []byte
}

// Strip takes out what the call's client has sent or was told: what must not
// leave the regions of the call. Ids, tags, figures and money stay: without them
// nothing could be counted.
func (e *Entry) Strip() {
	e.Metadata, e.SpendLogsMetadata, e.ErrorMessage, e.IP, e.RequestUser = nil, nil, "", "", ""
	e.Messages, e.Response, e.Request, e.Answer = nil, nil, nil, nil
}

// Charged is the incarnation whose grants the entry was charged to.
func (e *Entry) Charged() uint64 {
	if e.Incarnation != 0 {
		return e.Incarnation
	}
	return e.Seq >> counterBits
}

// Sequence numbers: dense within an incarnation, growing over incarnations.
const (
	counterBits    = 40
	maxIncarnation = 1<<(64-counterBits) - 1
)

// Seq makes a sequence number of its parts.
func Seq(incarnation, counter uint64) uint64 { return incarnation<<counterBits | counter }

// Incarnation is the start of the node in which a sequence number was given.
func Incarnation(seq uint64) uint64 { return seq >> counterBits }
