package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
)

// maxMeta is what memberlist carries with a node's name, at most.
const maxMeta = 512

const metaVersion = 1

// The longest parts of a Meta. Names are cut, the others refused: a region cut
// short would be another region to every rule that compares it.
const (
	maxName   = 63
	maxBuild  = 40
	maxPlace  = 48 // region, zone
	maxAddr   = 90 // HOST:PORT
	maxKeyIDs = 6
	maxKeyID  = 8
)

const (
	flagDraining = 1 << iota
	flagWitness
	flagLedgerFull
)

// errMeta is wrapped by every refused metadata.
var errMeta = errors.New("not the metadata of a node")

// validate reports what keeps the facts from being spread, all at once.
func (m *Meta) validate() error {
	var errs []error
	if _, err := ulid.ParseStrict(m.NodeID); err != nil {
		errs = append(errs, fmt.Errorf("node id %q is not a ULID", m.NodeID))
	}
	for _, f := range []struct {
		what, value string
		limit       int
	}{{"region", m.Region, maxPlace}, {"zone", m.Zone, maxPlace}, {"cluster address", m.Addr, maxAddr}, {"API address", m.API, maxAddr}, {"key id", m.KeyID, maxKeyID}} {
		if len(f.value) > f.limit {
			errs = append(errs, fmt.Errorf("the %s %q is longer than %d bytes", f.what, f.value, f.limit))
		}
	}
	if len(m.KeyIDs) > maxKeyIDs {
		errs = append(errs, fmt.Errorf("%d gossip keys at once: remove old ones first (at most %d)", len(m.KeyIDs), maxKeyIDs))
	}
	for _, id := range m.KeyIDs {
		if len(id) > maxKeyID {
			errs = append(errs, fmt.Errorf("the key id %q is longer than %d bytes", id, maxKeyID))
		}
	}
	return errors.Join(errs...)
}

// encode makes the metadata. The parts' limits keep it under memberlist's.
func (m *Meta) encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	id, err := ulid.ParseStrict(m.NodeID)
	if err != nil {
		return nil, fmt.Errorf("node id %q: %w", m.NodeID, err)
	}
	b := append(make([]byte, 0, 256), metaVersion)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, m.Incarnation)
	var flags byte
	for _, f := range []struct {
		on  bool
		bit byte
	}{{m.Draining, flagDraining}, {m.Witness, flagWitness}, {m.LedgerFull, flagLedgerFull}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(m.FeatureMin))
	b = binary.AppendUvarint(b, uint64(m.FeatureMax))
	for _, s := range []string{cut(m.Name, maxName), m.Region, m.Zone, m.Addr, m.API, cut(m.Build, maxBuild), m.KeyID} {
		b = append(append(b, byte(len(s))), s...)
	}
	b = append(b, byte(len(m.KeyIDs)))
	for _, s := range m.KeyIDs {
		b = append(append(b, byte(len(s))), s...)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("metadata of %d bytes, at most %d: give the node shorter names and addresses", len(b), maxMeta)
	}
	return b, nil
}

// cut shortens a name at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decodeMeta reads metadata. A later version begins as this one does and adds
// at the end, so that nodes of two releases know each other.
func decodeMeta(b []byte) (Meta, error) {
	var m Meta
	if len(b) < 1+16+8+1 || len(b) > maxMeta || b[0] < metaVersion {
		return m, fmt.Errorf("%w: %d bytes", errMeta, len(b))
	}
	m.NodeID = ulid.ULID(b[1:17]).String()
	m.Incarnation = binary.BigEndian.Uint64(b[17:])
	flags := b[25]
	m.Draining, m.Witness, m.LedgerFull = flags&flagDraining != 0, flags&flagWitness != 0, flags&flagLedgerFull != 0
	r := reader{b: b[26:]}
	m.FeatureMin, m.FeatureMax = uint32(r.uvarint(1<<32-1)), uint32(r.uvarint(1<<32-1))
	for _, s := range []*string{&m.Name, &m.Region, &m.Zone, &m.Addr, &m.API, &m.Build, &m.KeyID} {
		*s = r.text()
	}
	if n := int(r.byte()); n > 0 && n <= maxKeyIDs {
		m.KeyIDs = make([]string, 0, n)
		for range n {
			m.KeyIDs = append(m.KeyIDs, r.text())
		}
	} else if n > maxKeyIDs {
		r.bad = true
	}
	if r.bad {
		return Meta{}, fmt.Errorf("%w: cut short or out of range", errMeta)
	}
	return m, nil
}

// reader takes values off the front of foreign bytes; after the first one that
// is not there it yields zeros and stays bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if r.bad || len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// text is a short string; bytes that are not UTF-8 would break what shows it.
func (r *reader) text() string {
	return strings.ToValidUTF8(string(r.take(int(r.byte()))), "�")
}
