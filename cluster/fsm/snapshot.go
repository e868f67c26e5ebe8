package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"time"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/gzip"

	"tollgate/cluster/command"
)

// The snapshot file, inside gzip:
//
//	magic, format version (1 byte), feature level (uvarint), cluster id
//	(uvarint length, bytes), index (8 bytes), the state's clock (8 bytes)
//	records: command type (1), record kind (1), length (uvarint), data
//	footer: 0, 0, record count (8), CRC-32C of everything before the sum (4)
//
// Records of one type lie together, in ascending order of types.
const (
	magic         = "TOLLGATE"
	formatVersion = 1
	featureLevel  = 1

	// maxRecord bounds what a damaged length can make a reader allocate.
	maxRecord = 256 << 20
)

var (
	// ErrSnapshot proves that bytes are not a whole snapshot; nothing was taken
	// from them.
	ErrSnapshot = errors.New("snapshot is damaged")

	// ErrOtherCluster proves that a snapshot belongs to another cluster.
	ErrOtherCluster = errors.New("snapshot is of another cluster")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Header is what a snapshot says of itself.
type Header struct {
	Format    byte
	Feature   uint64
	ClusterID string
	Index     uint64
	Now       time.Time
}

// Snapshot captures all state machines for writing.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.Err(); err != nil {
		return nil, err
	}
	index, _ := f.Applied()
	s := &snapshot{head: Header{Format: formatVersion, Feature: featureLevel, ClusterID: f.cluster, Index: index, Now: f.now}}
	for _, t := range f.order {
		s.sections = append(s.sections, section{t, f.appliers[t].Snapshot()})
	}
	return s, nil
}

type section struct {
	kind    command.Type
	records iter.Seq2[byte, []byte]
}

type snapshot struct {
	head     Header
	sections []section
}

// Persist writes the snapshot into raft's sink.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to do: what was captured is immutable.
func (s *snapshot) Release() {}

func (s *snapshot) write(w io.Writer) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(zip, 64<<10)
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(buffered, sum)

	head := append([]byte(magic), s.head.Format)
	head = binary.AppendUvarint(head, s.head.Feature)
	head = binary.AppendUvarint(head, uint64(len(s.head.ClusterID)))
	head = append(head, s.head.ClusterID...)
	head = binary.BigEndian.AppendUint64(head, s.head.Index)
	head = binary.BigEndian.AppendUint64(head, uint64(nanos(s.head.Now)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	count := uint64(0)
	var prefix []byte
	for _, sec := range s.sections {
		for kind, data := range sec.records {
			if kind == 0 {
				return fmt.Errorf("%s: %s", sec.kind, data)
			}
			prefix = binary.AppendUvarint(append(prefix[:0], byte(sec.kind), kind), uint64(len(data)))
			if _, err := out.Write(prefix); err != nil {
				return err
			}
			if _, err := out.Write(data); err != nil {
				return err
			}
			count++
		}
	}
	if _, err := out.Write(binary.BigEndian.AppendUint64([]byte{0, 0}, count)); err != nil {
		return err
	}
	if _, err := buffered.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return errors.Join(buffered.Flush(), zip.Close())
}

// Restore replaces the state of all machines by the snapshot's. Everything is
// read and checked before anything is replaced.
func (f *FSM) Restore(r io.ReadCloser) error {
	head, swaps, err := f.read(r)
	if err != nil {
		err = fmt.Errorf("restore snapshot: %w", err)
		f.mu.Lock()
		f.restore = err
		f.mu.Unlock()
		return err
	}
	for _, swap := range swaps {
		swap()
	}
	f.now = head.Now
	f.publish(max(head.Index, 1))
	return nil
}

func (f *FSM) read(r io.Reader) (Header, []func(), error) {
	rd, err := newReader(r)
	if err != nil {
		return Header{}, nil, err
	}
	if f.cluster != "" && rd.head.ClusterID != f.cluster {
		return Header{}, nil, fmt.Errorf("%w: %q, not %q", ErrOtherCluster, rd.head.ClusterID, f.cluster)
	}
	swaps := map[command.Type]func(){}
	for rd.next() {
		t := rd.kind
		a, ok := f.appliers[t]
		switch {
		case swaps[t] != nil:
			return Header{}, nil, fmt.Errorf("%w: two sections of %s", ErrSnapshot, t)
		case !ok && !t.Skippable():
			return Header{}, nil, fmt.Errorf("section of %s: %w; start a newer release", t, ErrUnknownType)
		case !ok:
			for range rd.section() { // an older node passes over what it may
			}
			continue
		}
		swap, err := a.Restore(rd.section())
		if err != nil {
			return Header{}, nil, fmt.Errorf("section of %s: %w", t, err)
		}
		swaps[t] = swap
		rd.skip(t)
	}
	if rd.err != nil {
		return Header{}, nil, rd.err
	}
	var ordered []func()
	for _, t := range f.order {
		swap := swaps[t]
		if swap == nil { // nothing of it in the snapshot: it was empty
			if swap, err = f.appliers[t].Restore(func(func(byte, []byte) bool) {}); err != nil {
				return Header{}, nil, fmt.Errorf("empty section of %s: %w", t, err)
			}
		}
		ordered = append(ordered, swap)
	}
	return rd.head, ordered, nil
}

// Verify reads a snapshot to its end and says what it is. It needs no state
// machines, so it serves an operator who wants to know before relying on it.
func Verify(r io.Reader) (Header, uint64, error) {
	rd, err := newReader(r)
	if err != nil {
		return Header{}, 0, fmt.Errorf("verify snapshot: %w", err)
	}
	for rd.next() {
		rd.skip(rd.kind)
	}
	if rd.err != nil {
		return Header{}, 0, fmt.Errorf("verify snapshot: %w", rd.err)
	}
	return rd.head, rd.count, nil
}

// reader walks the records of a snapshot. One record is always read ahead: that
// is how the end of a section shows.
type reader struct {
	src   *bufio.Reader
	sum   uint32
	head  Header
	count uint64

	kind   command.Type // of the record read ahead
	record byte
	data   []byte
	ahead  bool
	ended  bool
	err    error
}

func newReader(r io.Reader) (*reader, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	rd := &reader{src: bufio.NewReaderSize(zip, 64<<10)}
	if string(rd.bytes(len(magic))) != magic && rd.err == nil {
		rd.err = fmt.Errorf("%w: it does not begin like one", ErrSnapshot)
	}
	if v := rd.bytes(1); rd.err == nil {
		if rd.head.Format = v[0]; v[0] != formatVersion {
			return nil, fmt.Errorf("snapshot format %d is of a newer release", v[0])
		}
	}
	rd.head.Feature = rd.uvarint()
	if n := rd.uvarint(); n > 1024 {
		rd.fail("cluster id is too long")
	} else {
		rd.head.ClusterID = string(rd.bytes(int(n)))
	}
	if b := rd.bytes(16); rd.err == nil {
		rd.head.Index = binary.BigEndian.Uint64(b)
		rd.head.Now = clock(int64(binary.BigEndian.Uint64(b[8:])))
	}
	return rd, rd.err
}

// next reads one record ahead, unless there is one; false at the end and on a
// fault.
func (r *reader) next() bool {
	if r.ahead || r.err != nil || r.ended {
		return r.ahead && r.err == nil
	}
	b := r.bytes(2)
	if r.err != nil {
		return false
	}
	if b[0] == 0 && b[1] == 0 {
		r.footer()
		return false
	}
	r.kind, r.record = command.Type(b[0]), b[1]
	n := r.uvarint()
	if n > maxRecord {
		r.fail("record is too long")
		return false
	}
	r.data = r.bytes(int(n))
	r.ahead = r.err == nil
	r.count++
	return r.ahead
}

func (r *reader) footer() {
	var count uint64
	if b := r.bytes(8); b != nil { // the buffer is used again: take the number now
		count = binary.BigEndian.Uint64(b)
	}
	want := r.sum
	sum := r.bytes(4)
	switch {
	case r.err != nil:
	case count != r.count:
		r.fail("records are missing")
	case binary.BigEndian.Uint32(sum) != want:
		r.fail("checksum differs")
	default:
		if _, err := r.src.ReadByte(); err != io.EOF { // also reads gzip's own sum
			r.fail("bytes follow its end")
		}
	}
	r.ended = true
}

// section walks the records of the type at hand.
func (r *reader) section() iter.Seq2[byte, []byte] {
	t := r.kind
	return func(yield func(byte, []byte) bool) {
		for r.next() && r.kind == t {
			r.ahead = false
			if !yield(r.record, r.data) {
				return
			}
		}
	}
}

// skip passes over what is left of a section.
func (r *reader) skip(t command.Type) {
	for r.next() && r.kind == t {
		r.ahead = false
	}
}

// bytes reads n bytes into the record buffer and adds them to the sum.
func (r *reader) bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	// Grow as the data comes: a damaged length must not allocate on its word.
	buf := r.data[:0]
	for len(buf) < n {
		step := min(n-len(buf), max(4096, cap(buf)-len(buf), len(buf)))
		old := len(buf)
		if cap(buf) < old+step {
			buf = append(buf, make([]byte, step)...)
		} else {
			buf = buf[:old+step]
		}
		if _, err := io.ReadFull(r.src, buf[old:old+step]); err != nil {
			r.fail(err.Error())
			return nil
		}
	}
	r.data = buf
	r.sum = crc32.Update(r.sum, castagnoli, buf)
	return buf
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.bytes(1)
		if r.err != nil {
			return 0
		}
		v |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return v
		}
	}
	r.fail("length is no number")
	return 0
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrSnapshot, why)
	}
	r.ahead = false
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func clock(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
