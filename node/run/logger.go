package run

import (
	"log/slog"
	"strings"

	"tollgate/config/secret"
)

// newLogger writes one line a fact, keys masked.
func newLogger(o Options) *slog.Logger {
	level := slog.LevelInfo
	switch strings.ToUpper(o.LogLevel) {
	case "DEBUG":
		level = slog.LevelDebug
	case "WARNING", "WARN":
		level = slog.LevelWarn
	case "ERROR":
		level = slog.LevelError
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: secret.ReplaceAttr}
	if o.LogJSON {
		return slog.New(slog.NewJSONHandler(o.Out, opts))
	}
	return slog.New(slog.NewTextHandler(o.Out, opts))
}
