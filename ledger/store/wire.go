package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/unit"
)

// ErrCorrupt is wrapped by every refusal of stored bytes.
var ErrCorrupt = errors.New("ledger record is damaged")

// A record is a version byte and fields, each a tag and a value as in protocol
// buffers' wire form: tag = number<<1, value a varint; tag = number<<1|1, value
// a length and bytes. Zero values are left out, and unknown numbers are skipped,
// so an older program reads a newer one's records.
const wireVersion = 1

const (
	wireVarint = 0
	wireBytes  = 1
)

func putUint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|wireVarint)
	return binary.AppendUvarint(b, v)
}

func putInt(b []byte, field int, v int64) []byte {
	return putUint(b, field, uint64(v)<<1^uint64(v>>63))
}

func putBool(b []byte, field int, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, field, 1)
}

func putString(b []byte, field int, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func putBytes(b []byte, field int, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// putTime keeps nanoseconds since 1970; the zero time is left out.
func putTime(b []byte, field int, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	// Written even for 1970 itself, which is not the zero time.
	v := t.UnixNano()
	b = binary.AppendUvarint(b, uint64(field)<<1|wireVarint)
	return binary.AppendUvarint(b, uint64(v)<<1^uint64(v>>63))
}

func unzig(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// bytesOf copies a byte field; an empty one is as an absent one.
func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func timeOf(v uint64) time.Time { return time.Unix(0, unzig(v)).UTC() }

// reader walks a record's fields. Strings and byte fields are slices of one
// copy of the record.
type reader struct {
	b   string
	err error
}

// next gives the next field; num 0 means the end or an error.
func (r *reader) next() (num int, v uint64, s string) {
	if r.b == "" || r.err != nil {
		return 0, 0, ""
	}
	tag := r.uvarint()
	if r.err != nil {
		return 0, 0, ""
	}
	if tag>>1 == 0 || tag>>1 > 1<<20 {
		r.err = fmt.Errorf("%w: field number %d", ErrCorrupt, tag>>1)
		return 0, 0, ""
	}
	v = r.uvarint()
	if r.err != nil {
		return 0, 0, ""
	}
	if tag&1 == wireBytes {
		if v > uint64(len(r.b)) {
			r.err = fmt.Errorf("%w: field %d runs past the end", ErrCorrupt, tag>>1)
			return 0, 0, ""
		}
		s, r.b = r.b[:v], r.b[v:]
		v = 0
	}
	return int(tag >> 1), v, s
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(r.b) && i < binary.MaxVarintLen64; i++ {
		c := r.b[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.b = r.b[i+1:]
			return v
		}
	}
	r.err = fmt.Errorf("%w: a number does not end", ErrCorrupt)
	return 0
}

// Fields of the parts that entries and intents share.
const (
	chargeDim = 1 + iota
	chargeID
	chargeWindow
)

// putCharges writes each charge as a field of its own with a length of one or
// two bytes in front; the length is known beforehand, so nothing is moved.
func putCharges(b []byte, field int, cs []Charge) []byte {
	for i := range cs {
		c := &cs[i]
		n := sizeUint(chargeDim, uint64(c.Scope.Dim)) + sizeString(chargeID, c.Scope.ID) + sizeInt(chargeWindow, c.Window)
		b = binary.AppendUvarint(b, uint64(field)<<1|wireBytes)
		b = binary.AppendUvarint(b, uint64(n))
		b = putUint(b, chargeDim, uint64(c.Scope.Dim))
		b = putString(b, chargeID, c.Scope.ID)
		b = putInt(b, chargeWindow, c.Window)
	}
	return b
}

func readCharge(s string) (Charge, error) {
	r := reader{b: s}
	var c Charge
	for {
		n, v, t := r.next()
		switch n {
		case 0:
			return c, r.err
		case chargeDim:
			if v > 255 {
				return c, fmt.Errorf("%w: scope level %d", ErrCorrupt, v)
			}
			c.Scope.Dim = model.Dim(v)
		case chargeID:
			c.Scope.ID = t
		case chargeWindow:
			c.Window = unzig(v)
		}
	}
}

func sizeUvarint(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

func sizeUint(field int, v uint64) int {
	if v == 0 {
		return 0
	}
	return sizeUvarint(uint64(field)<<1) + sizeUvarint(v)
}

func sizeInt(field int, v int64) int { return sizeUint(field, uint64(v)<<1^uint64(v>>63)) }

func sizeString(field int, s string) int {
	if s == "" {
		return 0
	}
	return sizeUvarint(uint64(field)<<1) + sizeUvarint(uint64(len(s))) + len(s)
}

// Usage and cost lie in an entry as fields of their own ranges: flat, so that
// writing them needs no lengths.
const (
	usageBase = 100
	costBase  = 180
	costEnd   = 220
)

func putUsage(b []byte, u *price.Usage) []byte {
	for i, v := range [...]int64{u.InUncached, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.InAudio, u.InImage,
		u.OutTotal, u.OutReasoning, u.OutAudio, u.OutImage, u.PredAccepted, u.PredRejected, u.WebSearches} {
		b = putInt(b, usageBase+i, v)
	}
	b = putString(b, usageBase+20, u.ServiceTier)
	b = putString(b, usageBase+21, u.Speed)
	b = putString(b, usageBase+22, u.Geo)
	b = putBool(b, usageBase+23, u.Known)
	b = putBool(b, usageBase+24, u.Estimated)
	b = putString(b, usageBase+25, u.SearchSize)
	for i, v := range [...]int64{u.CacheReadAudio, u.CacheReadImage, u.Citations, u.Queries, u.Pages, u.InImages,
		u.OutImages, u.InPixels, u.OutPixels, u.InMillis, u.OutMillis, u.InChars, u.OutChars} {
		b = putInt(b, usageBase+30+i, v)
	}
	return b
}

func readUsage(u *price.Usage, n int, v uint64, s string) {
	tokens := [...]*int64{&u.InUncached, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.InAudio, &u.InImage,
		&u.OutTotal, &u.OutReasoning, &u.OutAudio, &u.OutImage, &u.PredAccepted, &u.PredRejected, &u.WebSearches}
	others := [...]*int64{&u.CacheReadAudio, &u.CacheReadImage, &u.Citations, &u.Queries, &u.Pages, &u.InImages,
		&u.OutImages, &u.InPixels, &u.OutPixels, &u.InMillis, &u.OutMillis, &u.InChars, &u.OutChars}
	switch i := n - usageBase; {
	case i < len(tokens):
		*tokens[i] = unzig(v)
	case i == 20:
		u.ServiceTier = s
	case i == 21:
		u.Speed = s
	case i == 22:
		u.Geo = s
	case i == 23:
		u.Known = v != 0
	case i == 24:
		u.Estimated = v != 0
	case i == 25:
		u.SearchSize = s
	case i >= 30 && i < 30+len(others):
		*others[i-30] = unzig(v)
	}
}

func putCost(b []byte, c *price.Cost) []byte {
	for i, v := range [...]unit.Money{c.Total, c.Input, c.CacheRead, c.CacheWrite, c.Output, c.Reasoning, c.Tools} {
		b = putInt(b, costBase+i, int64(v))
	}
	b = putBool(b, costBase+20, c.Priced)
	b = putString(b, costBase+21, c.Version)
	for _, s := range c.Notes {
		b = binary.AppendUvarint(b, uint64(costBase+22)<<1|wireBytes)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func readCost(c *price.Cost, n int, v uint64, s string) {
	parts := [...]*unit.Money{&c.Total, &c.Input, &c.CacheRead, &c.CacheWrite, &c.Output, &c.Reasoning, &c.Tools}
	switch i := n - costBase; {
	case i < len(parts):
		*parts[i] = unit.Money(unzig(v))
	case i == 20:
		c.Priced = v != 0
	case i == 21:
		c.Version = s
	case i == 22:
		c.Notes = append(c.Notes, s)
	}
}
