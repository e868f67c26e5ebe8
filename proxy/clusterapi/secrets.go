package clusterapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"tollgate/proxy/refusal"
)

// minKEK is the shortest text that becomes a key-encryption key here. A new one
// is chosen on purpose, so it can be a good one.
const minKEK = 16

func (c *call) rotation() *refusal.Refusal {
	ctx, cancel := c.bounded()
	defer cancel()
	rot, err := c.h.Cluster.Rotation(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.ok(rot)
}

func (c *call) rotateSecrets() *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	kek, given := f.text("new_kek")
	switch _, there := f.raw["new_kek"]; {
	case !there:
		f.fault("new_kek", "missing", "Field required")
	case given && len(kek) < minKEK: // what was sent is not repeated
		f.invalid("new_kek", "new_kek must have 16 characters at least; `openssl rand -base64 32` makes a good one")
	}
	if r = c.check(f); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	rot, err := c.h.Cluster.RotateSecrets(ctx, kek)
	if err != nil {
		return c.failed(err)
	}
	return c.done(200, rot, "current", rot.Current, "resealed", rot.Resealed)
}

func (c *call) finishRotation() *refusal.Refusal {
	if r := c.noFields(); r != nil {
		return r
	}
	ctx, cancel := c.bounded()
	defer cancel()
	rot, err := c.h.Cluster.FinishRotation(ctx)
	if err != nil {
		return c.failed(err)
	}
	return c.done(200, rot, "current", rot.Current)
}

// progressLine is one line of the answer to a rotation of the gossip key. The
// last one has Done or Error.
type progressLine struct {
	Step  string       `json:"step,omitempty"`
	Done  bool         `json:"done,omitempty"`
	Error *faultInLine `json:"error,omitempty"`
}

type faultInLine struct {
	Message string `json:"message"`
	Code    string `json:"code"`
}

// steps is how many lines may wait for a slow reader; a rotation tells fewer.
const steps = 1024

// rotateGossipKey tells each step as a line of JSON. The rotation does not
// depend on anybody reading: half a rotation helps nobody, so it goes on when
// the client leaves, and a client that does not read holds nothing up.
func (c *call) rotateGossipKey() *refusal.Refusal {
	if r := c.noFields(); r != nil {
		return r
	}
	c.h.Logger.Info("cluster operation", "operation", c.route, "by", c.who())
	lines := make(chan progressLine, steps)
	ended := make(chan error, 1)
	go func() {
		err := c.h.Cluster.RotateGossipKey(context.Background(), func(step string) {
			select {
			case lines <- progressLine{Step: step}:
			default:
			}
		})
		if err != nil {
			c.h.Logger.Warn("gossip key not rotated", "error", err)
		}
		ended <- err
		close(lines)
	}()
	return c.stream("application/jsonl", func(_ context.Context, w io.Writer) error {
		enc, told := json.NewEncoder(w), false
		for line := range lines {
			told = true
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
		err := <-ended
		if err == nil {
			return enc.Encode(progressLine{Done: true})
		}
		if !told { // nothing is written yet: an ordinary refusal
			return err
		}
		return enc.Encode(progressLine{Error: c.inLine(err)})
	})
}

// inLine is a failure where the status has been sent already.
func (c *call) inLine(err error) *faultInLine {
	var f *Fault
	if errors.As(err, &f) {
		return &faultInLine{f.Message, f.Code}
	}
	r := c.h.Unavailable(err)
	return &faultInLine{r.Message, r.CodeText()}
}
