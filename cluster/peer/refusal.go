package peer

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tollgate/config/unit"
)

// Reason says why a connection was refused, for programs and metrics.
type Reason string

// The reasons that a node tells another, after both have proven who they are.
const (
	// ReasonNotMember: the cluster does not know the dialler, or no longer.
	ReasonNotMember Reason = "not_member"
	// ReasonOtherCluster: the two are nodes of different clusters.
	ReasonOtherCluster Reason = "other_cluster"
	// ReasonOldGeneration: the dialler missed a recovery of the cluster.
	ReasonOldGeneration Reason = "old_generation"
	// ReasonStaleServer: the node that was dialled missed a recovery.
	ReasonStaleServer Reason = "stale_server"
	// ReasonNewerProtocol: the dialler's release is too new for this one.
	ReasonNewerProtocol Reason = "newer_protocol"
	// ReasonNotServing: this kind of connection is not served, or not yet.
	ReasonNotServing Reason = "not_serving"
	// ReasonUnknown: a reason of a later release.
	ReasonUnknown Reason = "unknown"
)

// The reasons for refusing a stranger, who is told no more than TLS tells.
const (
	reasonNotTLS      Reason = "not_tls"
	reasonSilent      Reason = "silent"
	reasonCertificate Reason = "certificate"
	reasonHandshake   Reason = "handshake"
	reasonHello       Reason = "hello"
	reasonTooMany     Reason = "too_many"
)

// statuses are the reasons by their number on the wire. Numbers are never reused.
var statuses = [...]Reason{
	1: ReasonNotMember, 2: ReasonOtherCluster, 3: ReasonOldGeneration,
	4: ReasonStaleServer, 5: ReasonNewerProtocol, 6: ReasonNotServing, 255: ReasonUnknown,
}

func (r Reason) status() byte {
	for i, s := range statuses {
		if s == r && s != "" {
			return byte(i)
		}
	}
	return 255
}

func reasonOf(status byte) Reason {
	if r := statuses[status]; r != "" {
		return r
	}
	return ReasonUnknown
}

// Refused is a connection that the other node did not take, in the words that
// it logged too.
type Refused struct {
	Reason  Reason
	Message string
}

// Error is the sentence.
func (r *Refused) Error() string { return r.Message }

// NotMember is the refusal of a node that the cluster does not know. An allow
// hook returns it.
func NotMember(id string) *Refused {
	return &Refused{ReasonNotMember, fmt.Sprintf("node %s is not a member of this cluster: it was forgotten or never joined", id)}
}

const (
	quietFor   = time.Minute
	maxTalkers = 1024
)

// RefusalLog logs refusals once a minute for each address and reason. A stranger that
// knocks a thousand times a second must not fill the disk.
type RefusalLog struct {
	log   *slog.Logger
	clock unit.Clock

	mu   sync.Mutex // guards said
	said map[talker]*silence
}

type talker struct {
	who    string
	reason Reason
}

type silence struct {
	until  time.Time
	missed int
}

// NewRefusalLog makes a log that has said nothing yet.
func NewRefusalLog(log *slog.Logger, clock unit.Clock) *RefusalLog {
	return &RefusalLog{log: log, clock: clock, said: map[talker]*silence{}}
}

// Warn logs a line unless who had one for the same reason in the last minute;
// the next line then says how many were left out.
func (t *RefusalLog) Warn(msg, who string, reason Reason, attrs ...any) {
	now := t.clock.Now()
	t.mu.Lock()
	k := talker{who, reason}
	s := t.said[k]
	if s != nil && now.Before(s.until) {
		s.missed++
		t.mu.Unlock()
		return
	}
	missed := 0
	if s != nil {
		missed = s.missed
	}
	if s == nil && len(t.said) >= maxTalkers {
		t.makeRoom(now)
	}
	t.said[k] = &silence{until: now.Add(quietFor)}
	t.mu.Unlock()

	attrs = append(attrs, "reason", string(reason))
	if missed > 0 {
		attrs = append(attrs, "repeated", missed)
	}
	t.log.Warn(msg, attrs...)
}

// makeRoom drops the addresses whose minute is over, and all when none is: a
// flood from many addresses may repeat itself, but not use up memory.
func (t *RefusalLog) makeRoom(now time.Time) {
	for k, s := range t.said {
		if now.After(s.until) {
			delete(t.said, k)
		}
	}
	if len(t.said) >= maxTalkers {
		clear(t.said)
	}
}
