package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// entryVersion heads every stored entry.
const entryVersion = 1

// hasAppendedAt marks an entry that carries the leader's time.
const hasAppendedAt = 1

var errEntry = errors.New("raft entry is damaged")

// appendLog writes every field of l but the index, which is the key:
// version, flags, type, term, time if any, length of extensions, extensions,
// and the data up to the end.
func appendLog(dst []byte, l *raft.Log) []byte {
	flags := byte(0)
	if !l.AppendedAt.IsZero() {
		flags |= hasAppendedAt
	}
	dst = append(dst, entryVersion, flags, byte(l.Type))
	dst = binary.AppendUvarint(dst, l.Term)
	if flags&hasAppendedAt != 0 {
		dst = binary.AppendVarint(dst, l.AppendedAt.UnixNano())
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.Extensions)))
	dst = append(dst, l.Extensions...)
	return append(dst, l.Data...)
}

// decodeLog reads into l what appendLog wrote; l keeps nothing of src.
func decodeLog(index uint64, src []byte, l *raft.Log) error {
	if len(src) < 3 {
		return fmt.Errorf("read raft entry %d: %w", index, errEntry)
	}
	if src[0] != entryVersion {
		return fmt.Errorf("read raft entry %d: version %d is of a newer release", index, src[0])
	}
	flags, kind, rest := src[1], src[2], src[3:]
	term, n := binary.Uvarint(rest)
	if n <= 0 {
		return fmt.Errorf("read raft entry %d: %w", index, errEntry)
	}
	rest = rest[n:]
	var at time.Time
	if flags&hasAppendedAt != 0 {
		nanos, n := binary.Varint(rest)
		if n <= 0 {
			return fmt.Errorf("read raft entry %d: %w", index, errEntry)
		}
		at, rest = time.Unix(0, nanos), rest[n:]
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return fmt.Errorf("read raft entry %d: %w", index, errEntry)
	}
	rest = rest[n:]
	*l = raft.Log{Index: index, Term: term, Type: raft.LogType(kind), AppendedAt: at}
	if size > 0 {
		l.Extensions = append([]byte(nil), rest[:size]...)
	}
	if data := rest[size:]; len(data) > 0 {
		l.Data = append([]byte(nil), data...)
	}
	return nil
}
