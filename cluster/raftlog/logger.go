package raftlog

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// logger hands Pebble's lines to the house logger.
type logger struct{ log *slog.Logger }

// Infof is Pebble's narration of flushes and compactions.
func (l logger) Infof(format string, args ...any) {
	l.log.Debug("raft log store", "detail", fmt.Sprintf(format, args...))
}

// Errorf is for what Pebble gets over.
func (l logger) Errorf(format string, args ...any) {
	l.log.Error("raft log store", "detail", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it when its log cannot be written, and
// would go on with entries that are not durable. A voter that forgets what it
// promised can cost committed writes.
func (l logger) Fatalf(format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	l.log.Error("raft log store cannot go on", "detail", detail)
	panic("raft log: " + detail)
}

var _ pebble.Logger = logger{}
