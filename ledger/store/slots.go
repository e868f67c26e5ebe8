package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Intents lie in memory-mapped files. A write into one costs no system call and
// survives the death of the process all the same: the page belongs to the
// kernel. It does not survive the machine; that is what the boot id is for.
const (
	slotSize     = 512
	slotsPerFile = 4096
	slotHeader   = 12 // state, length, checksum
	slotPayload  = slotSize - slotHeader
	slotUsed     = 0x31544e49 // "INT1"
	maxSlotFiles = 256        // a million calls in flight
)

// errNoSlot says that an intent does not fit a slot or that none is left.
var errNoSlot = errors.New("intent does not fit a slot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Ref names the intent of one call in flight. The zero Ref is a call that never
// had one.
type Ref struct {
	slot uint32 // 1 + index of the slot; 0 with inDB false: none
	gen  uint32
	inDB bool // kept under a key of its own, because it did not fit a slot
	call CallID
}

type slotFile struct {
	file *os.File
	mem  []byte
}

// slots is the set of slot files and the list of free slots.
type slots struct {
	dir   string
	dirty atomic.Bool
	woken alarm // the background sync, when there is something to sync

	mu    sync.Mutex // guards what follows
	free  []uint32   // a stack: the slot freed last is taken next, so few pages stay hot
	gens  []uint32   // how often each slot was released
	files []slotFile
}

// openSlots maps all slot files of dir, or makes the first one.
func openSlots(dir string) (*slots, error) {
	s := &slots{dir: dir, woken: newAlarm()}
	for n := 0; n < maxSlotFiles; n++ {
		if _, err := os.Stat(s.path(n)); err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				return nil, errors.Join(fmt.Errorf("look for intent file: %w", err), s.close())
			}
			break
		}
		if err := s.add(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if len(s.files) == 0 {
		if err := s.add(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *slots) path(n int) string {
	return filepath.Join(s.dir, fmt.Sprintf("intents-%04d", n))
}

// add maps the next file, making it when it is not there. Slots that are in use
// stay out of the free list until they are released. Called with mu held, or
// before anybody else knows s.
func (s *slots) add() error {
	n := len(s.files)
	if n == maxSlotFiles {
		return fmt.Errorf("%w: %d calls are in flight", errNoSlot, n*slotsPerFile)
	}
	f, err := openSlotFile(s.path(n))
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	base := uint32(n * slotsPerFile)
	s.gens = append(s.gens, make([]uint32, slotsPerFile)...)
	for i := uint32(slotsPerFile); i > 0; i-- {
		if slotState(f.mem[(i-1)*slotSize:]).Load() == 0 {
			s.free = append(s.free, base+i-1)
		}
	}
	return nil
}

// openSlotFile maps one file. A new one is written full of zeros and made
// durable under another name first: a page without a block behind it would kill
// the process on a full disk, and a half-made file would be mistaken for whole.
func openSlotFile(path string) (slotFile, error) {
	const size = slotSize * slotsPerFile
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeSlotFile(path, size); err != nil {
			return slotFile{}, fmt.Errorf("make intent file %s: %w", path, err)
		}
	} else if err != nil {
		return slotFile{}, fmt.Errorf("look for intent file: %w", err)
	} else if info.Size() != size {
		return slotFile{}, fmt.Errorf("intent file %s has %d bytes instead of %d", path, info.Size(), size)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return slotFile{}, fmt.Errorf("open intent file: %w", err)
	}
	mem, err := mapFile(f, size)
	if err != nil {
		return slotFile{}, errors.Join(fmt.Errorf("map intent file %s: %w", path, err), f.Close())
	}
	return slotFile{file: f, mem: mem}, nil
}

func makeSlotFile(path string, size int) error {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path+".new"))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func slotState(slot []byte) *atomic.Uint32 {
	// Slots are 512 bytes apart in a page-aligned mapping, so the word is aligned.
	return (*atomic.Uint32)(unsafe.Pointer(&slot[0]))
}

// put writes an intent into a free slot. The state word is written last: a slot
// counts only when all of it is there.
func (s *slots) put(payload []byte, call CallID) (Ref, error) {
	if len(payload) > slotPayload {
		return Ref{}, errNoSlot
	}
	s.mu.Lock()
	if len(s.free) == 0 {
		if err := s.add(); err != nil {
			s.mu.Unlock()
			return Ref{}, err
		}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	gen := s.gens[i]
	slot := s.at(i)
	s.mu.Unlock()

	copy(slot[slotHeader:], payload)
	binary.LittleEndian.PutUint32(slot[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(slot[8:], crc32.Checksum(payload, castagnoli))
	slotState(slot).Store(slotUsed)
	if !s.dirty.Load() {
		s.soil()
	}
	return Ref{slot: i + 1, gen: gen, call: call}, nil
}

// at gives one slot's bytes; called with mu held.
func (s *slots) at(i uint32) []byte {
	off := int(i%slotsPerFile) * slotSize
	return s.files[i/slotsPerFile].mem[off : off+slotSize : off+slotSize]
}

// holds reports whether ref is still the slot's present intent.
func (s *slots) holds(ref Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ref.slot != 0 && int(ref.slot) <= len(s.gens) && s.gens[ref.slot-1] == ref.gen
}

// release frees the slot of ref; a ref released before changes nothing.
func (s *slots) release(ref Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := ref.slot - 1
	if ref.slot == 0 || int(ref.slot) > len(s.gens) || s.gens[i] != ref.gen {
		return false
	}
	s.gens[i]++
	slotState(s.at(i)).Store(0)
	s.free = append(s.free, i)
	s.soil()
	return true
}

// left calls fn for every slot in use; in is nil when its content is torn.
func (s *slots) left(fn func(ref Ref, in *Intent) error) error {
	s.mu.Lock()
	var refs []Ref
	for i := range s.gens {
		if slotState(s.at(uint32(i))).Load() != 0 {
			refs = append(refs, Ref{slot: uint32(i) + 1, gen: s.gens[i]})
		}
	}
	s.mu.Unlock()
	for _, ref := range refs {
		s.mu.Lock()
		in := decodeSlot(s.at(ref.slot - 1))
		s.mu.Unlock()
		if in != nil {
			ref.call = in.CallID
		}
		if err := fn(ref, in); err != nil {
			return err
		}
	}
	return nil
}

// decodeSlot gives the intent of a slot, nil when it is free, torn or foreign.
func decodeSlot(slot []byte) *Intent {
	if len(slot) < slotHeader || binary.LittleEndian.Uint32(slot) != slotUsed {
		return nil
	}
	n := binary.LittleEndian.Uint32(slot[4:])
	if int64(n) > int64(len(slot)-slotHeader) {
		return nil
	}
	payload := slot[slotHeader : slotHeader+int(n)]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(slot[8:]) {
		return nil
	}
	in, err := decodeIntent(payload)
	if err != nil {
		return nil
	}
	return in
}

// inUse counts the intents that stand in slots.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gens) - len(s.free)
}

// soil notes that there is something to sync.
func (s *slots) soil() {
	if !s.dirty.Swap(true) {
		s.woken.ring()
	}
}

// sync writes changed slots to the disk.
func (s *slots) sync() error {
	if !s.dirty.Swap(false) {
		return nil
	}
	s.mu.Lock()
	files := s.files
	s.mu.Unlock()
	for _, f := range files {
		if err := f.file.Sync(); err != nil {
			s.soil()
			return fmt.Errorf("sync intents: %w", err)
		}
	}
	return nil
}

func (s *slots) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, unmapFile(f.mem), f.file.Close())
	}
	s.files, s.free, s.gens = nil, nil, nil
	return errors.Join(errs...)
}
