package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands raft's lines to the house logger. Raft narrates at info what
// an operator needs only when something is wrong, so its info is our debug.
func raftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(sink{log.With("component", "raft")})
	return l
}

type sink struct{ log *slog.Logger }

// Accept takes one line.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.NoLevel, hclog.Off, hclog.Trace:
		return
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
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

var _ hclog.SinkAdapter = sink{}
