package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// errStatus is wrapped by every refused status.
var errStatus = errors.New("not the status of a node")

// encode makes the body of a status message. Fields are only ever added at the
// end, so that nodes of two releases understand each other.
func (s *Status) encode() []byte {
	b := make([]byte, 0, 64)
	b = binary.AppendVarint(b, s.InFlight)
	b = binary.AppendUvarint(b, uint64(s.CPUPermille))
	b = binary.AppendUvarint(b, s.Applied)
	b = binary.AppendVarint(b, s.LedgerBacklog)
	b = binary.AppendVarint(b, s.DiskFree)
	hash := cut(s.ConfigHash, 64)
	b = append(append(b, byte(len(hash))), hash...)
	return binary.AppendVarint(b, s.LeaderAge.Milliseconds())
}

func decodeStatus(b []byte) (Status, error) {
	r := reader{b: b}
	s := Status{
		InFlight:      r.varint(),
		CPUPermille:   uint32(r.uvarint(math.MaxUint32)),
		Applied:       r.uvarint(math.MaxUint64),
		LedgerBacklog: r.varint(),
		DiskFree:      r.varint(),
		ConfigHash:    r.text(),
		LeaderAge:     milliseconds(r.varint()),
	}
	if r.bad {
		return Status{}, fmt.Errorf("%w: %d bytes", errStatus, len(b))
	}
	return s, nil
}

// milliseconds of foreign origin, kept from overflowing.
func milliseconds(ms int64) time.Duration {
	const limit = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(max(ms, -limit), limit)) * time.Millisecond
}
