package store

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/klauspost/compress/zstd"
)

// Field numbers of bodies.
const (
	bMessages = 1 + iota
	bResponse
	bRequest
)

// coders compress and open bodies. Making them costs more than using them, so a
// ledger makes its own once.
type coders struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCoders() (coders, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return coders{}, fmt.Errorf("make the encoder of bodies: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return coders{}, fmt.Errorf("make the decoder of bodies: %w", err)
	}
	return coders{enc, dec}, nil
}

// appendBodies compresses an entry's bodies. One that is larger than the limit
// is replaced by a JSON object that says so: half a JSON text helps nobody.
func (l *Ledger) appendBodies(b []byte, e *Entry) []byte {
	raw := takeBuf()
	defer giveBuf(raw)
	raw.b = append(raw.b[:0], wireVersion)
	raw.b = putBytes(raw.b, bMessages, l.clipBody(e.Messages))
	raw.b = putBytes(raw.b, bResponse, l.clipBody(e.Response))
	raw.b = putBytes(raw.b, bRequest, l.clipBody(e.Request))
	return l.coders.enc.EncodeAll(raw.b, b)
}

func (l *Ledger) clipBody(v []byte) []byte {
	if len(v) <= l.cfg.BodyLimit {
		return v
	}
	return append(strconv.AppendInt([]byte(`{"litellm_truncated":`), int64(len(v)), 10), '}')
}

// LoadBodies fills e's bodies as far as rows may show them; they stay empty
// when none were kept.
func (l *Ledger) LoadBodies(e *Entry) error {
	if e.BodiesUnlisted {
		return nil
	}
	return l.LoadCallbackBodies(e)
}

// LoadCallbackBodies fills e's bodies also where they are kept for callbacks only.
func (l *Ledger) LoadCallbackBodies(e *Entry) error {
	v, closer, err := l.db.Get(seqKey(nil, kBody, e.Seq))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read bodies of %d: %w", e.Seq, err)
	}
	defer closer.Close()
	return l.coders.decodeBodies(e, v)
}

func (z coders) decodeBodies(e *Entry, data []byte) error {
	raw, err := z.dec.DecodeAll(data, nil)
	if err != nil {
		return fmt.Errorf("%w: bodies: %w", ErrCorrupt, err)
	}
	if len(raw) == 0 || raw[0] != wireVersion {
		return fmt.Errorf("%w: bodies", ErrCorrupt)
	}
	r := reader{b: string(raw[1:])}
	for {
		n, _, s := r.next()
		switch n {
		case 0:
			return r.err
		case bMessages:
			e.Messages = bytesOf(s)
		case bResponse:
			e.Response = bytesOf(s)
		case bRequest:
			e.Request = bytesOf(s)
		}
	}
}
