package gossip

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tollgate/config/unit"
)

// warnEvery is how often the same trouble is told.
const warnEvery = time.Minute

// lines takes memberlist's log. It narrates at every level what a cluster does
// when nodes come and go, and what matters of that is told elsewhere; so all of
// it is debug, but for what an operator must mend.
type lines struct {
	log     *slog.Logger
	clock   unit.Clock
	metrics *metrics

	mu         sync.Mutex // guards the rest
	warned     map[string]time.Time
	suppressed map[string]int
}

// trouble is what a line of memberlist's may stand for.
type trouble struct {
	part, reason, message, check string
}

var troubles = [...]trouble{
	{"unacceptable label", "label", "gossip of another cluster refused", "the node at this address belongs to another cluster: check its data directory and the address it was told to join"},
	{"label header", "label", "gossip of another cluster refused", "what comes from this address is not gossip of this cluster: check what runs there"},
	{"Decrypt packet failed", "key", "gossip with another key refused", "the node at this address has other gossip keys: it was away during a key rotation (restart it) or is no member"},
	{"o installed keys could decrypt", "key", "gossip with another key refused", "the node at this address has other gossip keys: it was away during a key rotation (restart it) or is no member"},
	{"remote state is not encrypted", "key", "gossip without encryption refused", "what comes from this address is not gossip of this cluster: check what runs there"},
	{"handler queue full", "queue_full", "gossip messages dropped", "this node is too slow for its gossip: check its processors"},
}

// Write takes one line.
func (l *lines) Write(b []byte) (int, error) {
	line := string(bytes.TrimSpace(b))
	for _, t := range troubles {
		if strings.Contains(line, t.part) {
			l.metrics.refused(t.reason)
			l.warn(t, line)
			return len(b), nil
		}
	}
	if _, rest, ok := strings.Cut(line, "memberlist: "); ok {
		line = rest
	}
	l.log.Debug("memberlist", "line", line)
	return len(b), nil
}

func (l *lines) warn(t trouble, line string) {
	from := origin(line)
	key := t.reason + from
	l.mu.Lock()
	now := l.clock.Now()
	if l.warned == nil || len(l.warned) > 1000 {
		l.warned, l.suppressed = make(map[string]time.Time), make(map[string]int)
	}
	if at, told := l.warned[key]; told && now.Sub(at) < warnEvery {
		l.suppressed[key]++
		l.mu.Unlock()
		return
	}
	l.warned[key] = now
	more := l.suppressed[key]
	delete(l.suppressed, key)
	l.mu.Unlock()
	l.log.Warn(t.message, "from", from, "check", t.check, "suppressed", more)
}

// origin is the host at the end of a line ("from=10.0.0.7:7946"). The port is
// left out: a stream has another one each time.
func origin(line string) string {
	i := strings.LastIndex(line, "from=")
	if i < 0 {
		return "unknown"
	}
	host := line[i+len("from="):]
	if j := strings.LastIndexByte(host, ':'); j > 0 {
		host = host[:j]
	}
	return host
}
