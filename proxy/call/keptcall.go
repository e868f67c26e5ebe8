package call

import (
	"encoding/binary"
	"errors"
)

// keptCall is what a repeated Idempotency-Key is answered, as it lies in the
// ledger of the node that made the call, and in its copy.
type keptCall struct {
	stream  bool
	large   bool // the answer was too large: there is no body
	id      string
	modelID string
	group   string
	body    []byte // the bytes that the first caller got
}

const keptVersion = 1

// Flags of a kept call.
const (
	keptStream = 1 << iota
	keptLarge
)

var errKept = errors.New("kept answer is damaged or of a newer release")

func (k *keptCall) append(b []byte) []byte {
	flags := byte(0)
	if k.stream {
		flags |= keptStream
	}
	if k.large {
		flags |= keptLarge
	}
	b = append(b, keptVersion, flags)
	for _, s := range [...]string{k.id, k.modelID, k.group} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, k.body...)
}

// readKept reads what append wrote. The body shares b.
func readKept(b []byte) (keptCall, error) {
	if len(b) < 2 || b[0] != keptVersion || b[1] > keptStream|keptLarge {
		return keptCall{}, errKept
	}
	k := keptCall{stream: b[1]&keptStream != 0, large: b[1]&keptLarge != 0}
	b = b[2:]
	for _, to := range [...]*string{&k.id, &k.modelID, &k.group} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return keptCall{}, errKept
		}
		*to, b = string(b[w:w+int(n)]), b[w+int(n):]
	}
	k.body = b
	return k, nil
}
