package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands raft's lines to the house logger. Raft narrates at info what
// an operator needs only when something is wrong, so its info is our debug.
func raftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(&sink{log: log.With("component", "raft"), said: map[string]time.Time{}})
	return l
}

const (
	// hushFor is how long a line about the same node is not said again: raft says
	// several a second about each node that is away.
	hushFor = 30 * time.Second

	// hushed bounds what is remembered of it.
	hushed = 256
)

// levels are lines that raft takes for graver than they are: a node that is away
// or new is nothing that an operator has to mend.
var levels = map[string]slog.Level{
	"failed to get previous log":                        slog.LevelDebug,
	"appendEntries rejected, sending older logs":        slog.LevelDebug,
	"failed to heartbeat to":                            slog.LevelWarn,
	"failed to appendEntries to":                        slog.LevelWarn,
	"failed to start pipeline replication to":           slog.LevelWarn,
	"failed to pipeline appendEntries":                  slog.LevelWarn,
	"failed to make requestVote RPC":                    slog.LevelWarn,
	"failed to flush response":                          slog.LevelWarn,
	"failed to decode incoming command":                 slog.LevelDebug, // a connection that its other side has closed
	"failed to accept connection":                       slog.LevelDebug, // the port has closed: a node that stops
	"peer has newer term, stopping replication":         slog.LevelDebug, // another leads: the ordinary end of a term
	"failed to send snapshot to":                        slog.LevelWarn,
	"failed to install snapshot":                        slog.LevelWarn,
	"rejecting pre-vote request since we have a leader": slog.LevelDebug,
}

type sink struct {
	log *slog.Logger

	mu   sync.Mutex // guards said
	said map[string]time.Time
}

// often reports whether a line was said a moment ago. about tells the nodes
// apart.
func (s *sink) often(msg, about string) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.said[msg+about]; ok && now.Sub(last) < hushFor {
		return true
	}
	if len(s.said) >= hushed {
		clear(s.said)
	}
	s.said[msg+about] = now
	return false
}

// about is the node that a line speaks of, as far as raft says.
func about(args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "server-id", "target", "node", "from":
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}

// Accept takes one line.
func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.NoLevel, hclog.Off, hclog.Trace:
		return
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	if less, ok := levels[msg]; ok {
		to = less
	}
	if to > slog.LevelDebug && s.often(msg, about(args)) {
		to = slog.LevelDebug
	}
	if !s.log.Enabled(context.Background(), to) {
		return
	}
	attrs := make([]slog.Attr, 0, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		key := fmt.Sprint(args[i])
		switch v := args[i+1].(type) {
		case hclog.Format:
			if f, ok := v[0].(string); ok {
				attrs = append(attrs, slog.String(key, fmt.Sprintf(f, v[1:]...)))
			}
		case fmt.Stringer, error:
			attrs = append(attrs, slog.String(key, fmt.Sprint(v)))
		default:
			attrs = append(attrs, slog.Any(key, v))
		}
	}
	s.log.LogAttrs(context.Background(), to, msg, attrs...)
}

var _ hclog.SinkAdapter = (*sink)(nil)
