package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"
)

const (
	exchangeVersion = 1
	// maxExchange bounds what one side of an exchange of states may bring.
	maxExchange = 4 << 20
)

// errExchange is wrapped by every refused exchange.
var errExchange = errors.New("not an exchange of states")

// section is what one kind brings to an exchange.
type section struct {
	kind Kind
	body []byte
}

// encodeExchange makes the bytes: version, node id, then kind, length and body
// of each section.
func encodeExchange(from string, sections []section) ([]byte, error) {
	id, err := ulid.ParseStrict(from)
	if err != nil {
		return nil, fmt.Errorf("node id %q: %w", from, err)
	}
	b := append([]byte{exchangeVersion}, id[:]...)
	for _, s := range sections {
		b = append(b, byte(s.kind))
		b = binary.AppendUvarint(b, uint64(len(s.body)))
		b = append(b, s.body...)
	}
	return b, nil
}

func decodeExchange(b []byte) (from string, sections []section, err error) {
	if len(b) > maxExchange {
		return "", nil, fmt.Errorf("%w: %d bytes", errExchange, len(b))
	}
	r := reader{b: b}
	if v := r.byte(); v != exchangeVersion {
		return "", nil, fmt.Errorf("%w: version %d", errExchange, v)
	}
	id := r.take(16)
	if r.bad {
		return "", nil, fmt.Errorf("%w: cut short", errExchange)
	}
	for len(r.b) > 0 {
		s := section{kind: Kind(r.byte())}
		s.body = r.take(int(r.uvarint(maxExchange)))
		if r.bad {
			return "", nil, fmt.Errorf("%w: cut short", errExchange)
		}
		sections = append(sections, s)
	}
	return ulid.ULID(id).String(), sections, nil
}

// encodeStatuses makes the section of this package's own.
func encodeStatuses(list []knownStatus) []byte {
	var b []byte
	for _, k := range list {
		id, err := ulid.ParseStrict(k.id)
		if err != nil { // members' ids are checked when they come
			continue
		}
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, uint64(k.inc))
		b = binary.AppendUvarint(b, k.seq)
		b = binary.AppendUvarint(b, uint64(max(k.age.Milliseconds(), 0)))
		body := k.status.encode()
		b = append(append(b, byte(len(body))), body...)
	}
	return b
}

func decodeStatuses(b []byte) ([]knownStatus, error) {
	var out []knownStatus
	r := reader{b: b}
	for len(r.b) > 0 {
		id := r.take(16)
		k := knownStatus{
			inc: uint32(r.uvarint(math.MaxUint32)),
			seq: r.uvarint(math.MaxUint64),
			age: milliseconds(int64(r.uvarint(math.MaxInt64))),
		}
		body := r.take(int(r.byte()))
		if r.bad {
			return nil, fmt.Errorf("%w: cut short", errStatus)
		}
		k.id = ulid.ULID(id).String()
		var err error
		if k.status, err = decodeStatus(body); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}
