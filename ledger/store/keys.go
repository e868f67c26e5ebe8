package store

import "encoding/binary"

// The key space. Only `e`, `b` and `i` are written on a request's way; all
// others are the indexer's, and `m` holds names of our own.
const (
	kEntry   = 'e' // seq → entry
	kBody    = 'b' // seq → bodies, compressed
	kIntent  = 'i' // call id → intent that did not fit a slot
	kAnswer  = 'w' // seq → answer kept for a repeated Idempotency-Key, compressed
	kDead    = 'd' // reader, seq → entry that its sink refused, and why
	kMeta    = 'm' // name → value
	kLookup  = 'r' // call or request id → seq
	kMinute  = 'x' // minute of settlement → first seq, earliest start
	kRollup  = 'a' // day, dimension, ids → sums
	kTotal   = 't' // scope → spend since ever
	kSettled = 's' // incarnation, scope, window → settled sum
	kAudit   = 'u' // log index, part → change of the replicated state
)

const (
	lookupCall    = 0
	lookupRequest = 1
)

func seqKey(b []byte, kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, kind), seq)
}

func seqOf(key []byte) uint64 {
	if len(key) != 9 {
		return 0
	}
	return binary.BigEndian.Uint64(key[1:])
}

func callKey(b []byte, kind byte, call CallID) []byte {
	b = append(b, kind)
	if kind == kLookup {
		b = append(b, lookupCall)
	}
	return append(b, call[:]...)
}

// requestKey is not unique by itself: providers do repeat ids, so the seq is
// part of the key and the first one owns the id.
func requestKey(b []byte, id string) []byte {
	b = append(b, kLookup, lookupRequest)
	b = binary.BigEndian.AppendUint16(b, uint16(min(len(id), maxIDBytes)))
	return append(b, id[:min(len(id), maxIDBytes)]...)
}

// maxIDBytes bounds ids inside keys.
const maxIDBytes = 1024

func metaKey(name string) []byte { return append([]byte{kMeta}, name...) }

// Names of meta keys.
const (
	metaFormat      = "format"
	metaIncarnation = "incarnation"
	metaBoot        = "boot"
	metaAudit       = "audit"
	metaIndexed     = "indexed"
	metaCursor      = "cursor/" // + name
	metaLoose       = "loose/"  // + name, of cursors that may lose their claim
)

// keyAfter is the smallest key above all keys with the prefix.
func keyAfter(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// appendText writes a length and a text: unlike a separator it lets the text
// hold anything.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxIDBytes)]
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// cutText takes a text off the front; ok is false when b is damaged.
func cutText(b []byte) (s string, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, false
	}
	return string(b[w : w+int(n)]), b[w+int(n):], true
}
