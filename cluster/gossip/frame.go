package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

const (
	frameVersion = 1
	frameHeader  = 1 + 1 + 4 + 4 + 8
	// MaxBody is the longest body of one message: with the frame, the label and
	// the encryption around it, it stays under 1,400 bytes, which every path
	// carries in one piece.
	MaxBody = 1300
)

// errFrame is wrapped by every refused frame.
var errFrame = errors.New("not a gossip frame")

// frame is one message as it is sent. Its order among the sender's others of
// the kind is (incarnation, sequence), whatever order they arrive in.
type frame struct {
	kind  Kind
	short uint32 // of the sender's node id
	inc   uint32 // low bits of the sender's incarnation
	seq   uint64 // per kind
	body  []byte
}

// shortID stands for a node id in a frame. Two members with one short id are
// told apart by nobody, so the table refuses to guess (see table.go).
func shortID(id string) uint32 { return uint32(xxhash.Sum64String(id)) }

func (f frame) encode() []byte {
	b := make([]byte, 0, frameHeader+len(f.body))
	b = append(b, byte(f.kind), frameVersion)
	b = binary.BigEndian.AppendUint32(b, f.short)
	b = binary.BigEndian.AppendUint32(b, f.inc)
	b = binary.BigEndian.AppendUint64(b, f.seq)
	return append(b, f.body...)
}

// decodeFrame reads a frame; the body is part of b.
func decodeFrame(b []byte) (frame, error) {
	if len(b) < frameHeader {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	if b[1] != frameVersion {
		return frame{}, fmt.Errorf("%w: version %d", errFrame, b[1])
	}
	f := frame{
		kind:  Kind(b[0]),
		short: binary.BigEndian.Uint32(b[2:]),
		inc:   binary.BigEndian.Uint32(b[6:]),
		seq:   binary.BigEndian.Uint64(b[10:]),
		body:  b[frameHeader:],
	}
	if len(f.body) > MaxBody {
		return frame{}, fmt.Errorf("%w: body of %d bytes", errFrame, len(f.body))
	}
	return f, nil
}

// newer orders what one node says: a later start beats any sequence. The
// incarnations are low bits, so they are compared around the circle.
func newer(incA uint32, seqA uint64, incB uint32, seqB uint64) bool {
	if incA != incB {
		return int32(incA-incB) > 0
	}
	return seqA > seqB
}
