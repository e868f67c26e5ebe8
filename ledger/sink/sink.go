// Package sink makes the readers of the callbacks that a configuration names:
// webhooks and files. It knows which settings mean which sink, and nothing of
// what the sinks do.
package sink

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/ledger/reader"
	"tollgate/ledger/sink/jsonl"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/sink/webhook"
	"tollgate/ledger/store"
)

// Named is a reader to be.
type Named = reader.Named

// Deps is what sinks need beside their settings.
type Deps struct {
	Node  string // this node's id
	Agent string // what requests call themselves, such as tollgate/1.0
	// Dir is where relative paths of files begin.
	Dir string
	// FileRoots are the directories in which absolute paths may lie: the
	// settings are the cluster's, the disk is this node's.
	FileRoots []string
	// Region is where this node stands, and with it a file without a region of its
	// own. Where the other end of a webhook stands, nobody knows unless it is said.
	Region string
	// Allow says whether a call's data may go to a region, "" where that is not
	// known. nil: anywhere.
	Allow func(e *store.Entry, region string) bool
	// Private says whether a call's content must not be told, beyond what the
	// settings of the callback say. nil: never.
	Private func(*store.Entry) bool
	Clock   unit.Clock
	Logger  *slog.Logger
}

// defaultLinger is how long a record waits for others where no flush_interval
// is given: LiteLLM's minute is long for who watches.
const defaultLinger = 5 * time.Second

// CursorName is the name of a callback's reader.
func CursorName(callback string) string { return "callback/" + callback }

// Open makes the sinks of the callbacks, whose secrets must be opened. One that
// cannot be made is left out and named in the error; the others are returned.
func Open(callbacks []model.Callback, d Deps) ([]Named, error) {
	var out []Named
	var errs []error
	for i := range callbacks {
		cb := callbacks[i]
		s, err := open(&cb, &d)
		if err != nil {
			errs = append(errs, fmt.Errorf("callback %s: %w", cb.Name, err))
			continue
		}
		settings, err := json.Marshal(cb)
		if err != nil {
			errs = append(errs, fmt.Errorf("callback %s: %w", cb.Name, err))
			continue
		}
		sum := sha256.Sum256(settings) // secrets do not stand about
		out = append(out, Named{Name: CursorName(cb.Name), Sink: s, Config: config(&cb, &d), Settings: hex.EncodeToString(sum[:])})
	}
	return out, errors.Join(errs...)
}

func open(cb *model.Callback, d *Deps) (reader.Sink, error) {
	content, hide, private := cb.Content, cb.HideCaller, d.Private
	options := func(e *store.Entry) payload.Options {
		return payload.Options{Redact: !content || private != nil && private(e), HideCaller: hide}
	}
	switch cb.Type {
	case model.CallbackWebhook:
		return webhook.New(webhook.Config{
			Endpoint: cb.Webhook, Headers: cb.Headers, Format: webhook.Format(cb.LogFormat), Gzip: cb.Gzip,
			AllowPrivate: cb.AllowPrivate, Options: options, Node: d.Node, Agent: d.Agent,
		})
	case model.CallbackFile:
		path, err := place(cb.Path, d)
		if err != nil {
			return nil, err
		}
		return jsonl.New(jsonl.Config{Path: path, RotateBytes: cb.RotateBytes, Keep: cb.Keep, Options: options})
	}
	return nil, fmt.Errorf("type %q is unknown", cb.Type)
}

// place is where a file lies on this node.
func place(path string, d *Deps) (string, error) {
	if !filepath.IsAbs(path) {
		if d.Dir == "" || !filepath.IsLocal(path) {
			return "", fmt.Errorf("path %s leaves the data directory", path)
		}
		return filepath.Join(d.Dir, path), nil
	}
	path = filepath.Clean(path)
	for _, root := range d.FileRoots {
		if rel, err := filepath.Rel(root, path); err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../") {
			return path, nil
		}
	}
	return "", fmt.Errorf("path %s is in no directory that this node gives to callbacks", path)
}

func config(cb *model.Callback, d *Deps) reader.Config {
	c := reader.Config{
		MaxEntries: cb.BatchSize, Linger: defaultLinger, FromNow: !cb.Backfill, Loose: true, Clock: d.Clock, Logger: d.Logger,
	}
	if cb.FlushInterval > 0 {
		c.Linger = time.Duration(cb.FlushInterval * float64(time.Second))
	}
	if cb.Content {
		c.Bodies = reader.CallbackBodies
	}
	success, failure := cb.Success, cb.Failure
	c.Want = func(e *store.Entry) bool {
		if payload.Succeeded(e) {
			return success && !e.NoLog
		}
		return failure && !e.NoLog
	}
	if allow := d.Allow; allow != nil {
		region := cb.Region
		if region == "" && cb.Type == model.CallbackFile {
			region = d.Region
		}
		c.Allow = func(e *store.Entry) bool { return allow(e, region) }
	}
	return c
}
