// Package jsonl writes finished calls to a file, one JSON record a line. Beside
// the file stands its position, which is written after the lines are on the
// disk; what the file holds beyond it is cut off at the next start. So each call
// stands in the file exactly once, also through kill -9 and a power cut, as long
// as nobody else writes the two files. It does not ship files anywhere.
package jsonl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"tollgate/ledger/reader"
	"tollgate/ledger/sink/payload"
	"tollgate/ledger/store"
)

// Config says where the lines go.
type Config struct {
	Path string
	// RotateBytes is the size at which a file is put away and a new one begun;
	// 0: 256 MiB, below 0: never.
	RotateBytes int64
	// Keep is how many files that were put away stay; 0: 10, below 0: all.
	Keep    int
	Options func(*store.Entry) payload.Options
}

// Sink is a reader's sink that knows its position.
type Sink struct {
	cfg Config

	mu   sync.Mutex // guards all below
	file *os.File   // nil until it is opened, and after a fault
	at   position
}

// position is what is certain to be in the file.
type position struct {
	Size int64  `json:"size"` // bytes
	Seq  uint64 `json:"seq"`  // last entry
}

var _ reader.Positioned = (*Sink)(nil)

// New makes a Sink. The file is opened when it is first needed.
func New(cfg Config) (*Sink, error) {
	if cfg.Path == "" {
		return nil, errors.New("the file has no path")
	}
	if cfg.RotateBytes == 0 {
		cfg.RotateBytes = 256 << 20
	}
	if cfg.Keep == 0 {
		cfg.Keep = 10
	}
	if cfg.Options == nil {
		cfg.Options = func(*store.Entry) payload.Options { return payload.Options{} }
	}
	return &Sink{cfg: cfg}, nil
}

// Position is the last entry in the file, 0 for a new one.
func (s *Sink) Position(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return 0, err
	}
	return s.at.Seq, nil
}

// Deliver appends a batch and returns when it is on the disk. Entries that the
// file has, such as replayed ones, are older than its position and come again
// at its end.
func (s *Sink) Deliver(_ context.Context, batch []*store.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	var lines []byte
	last := s.at.Seq
	refused := map[uint64]error{}
	for _, e := range batch {
		last = max(last, e.Seq)
		r, err := payload.Of(e, s.cfg.Options(e))
		if err == nil {
			var line []byte
			if line, err = json.Marshal(r); err == nil {
				lines = append(append(lines, line...), '\n')
			}
		}
		if err != nil {
			refused[e.Seq] = err
		}
	}
	if s.cfg.RotateBytes > 0 && s.at.Size > 0 && s.at.Size+int64(len(lines)) > s.cfg.RotateBytes {
		if err := s.rotate(); err != nil {
			return errors.Join(err, s.shut())
		}
	}
	if err := s.append(lines, last); err != nil {
		// What is in the file now is not known: opening it again cuts it.
		return errors.Join(err, s.shut())
	}
	if len(refused) > 0 {
		return &reader.Rejected{Entries: refused}
	}
	return nil
}

func (s *Sink) append(lines []byte, last uint64) error {
	if _, err := s.file.WriteAt(lines, s.at.Size); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	next := position{Size: s.at.Size + int64(len(lines)), Seq: last}
	if err := s.note(next); err != nil {
		return err
	}
	s.at = next
	return nil
}

// open finds the position and cuts what stands behind it: the rest of a write
// whose end was not noted.
func (s *Sink) open() error {
	if s.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.cfg.Path), 0o700); err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	f, err := os.OpenFile(s.cfg.Path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	at, err := s.begin(f)
	if err != nil {
		return errors.Join(fmt.Errorf("open records %s: %w", s.cfg.Path, err), f.Close())
	}
	s.file, s.at = f, at
	return nil
}

func (s *Sink) begin(f *os.File) (position, error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return position{}, fmt.Errorf("another process writes it: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return position{}, err
	}
	at, known, err := s.noted()
	if err != nil {
		return position{}, err
	}
	size := info.Size()
	switch {
	case !known:
		// A file of somebody else's: its whole lines stay.
		at.Size, err = wholeLines(f, size)
		if err != nil {
			return position{}, err
		}
	case at.Size > size:
		at.Size = size // it was put away, and its new length not noted yet
	}
	if at.Size < size {
		if err := f.Truncate(at.Size); err != nil {
			return position{}, err
		}
	}
	return at, s.note(at)
}

// wholeLines is where the last line that ends does so.
func wholeLines(f *os.File, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(buf)))
		b := buf[:end-from]
		if _, err := f.ReadAt(b, from); err != nil {
			return 0, err
		}
		if i := strings.LastIndexByte(string(b), '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

func (s *Sink) notePath() string { return s.cfg.Path + ".position" }

func (s *Sink) noted() (at position, known bool, err error) {
	b, err := os.ReadFile(s.notePath())
	if errors.Is(err, os.ErrNotExist) {
		return position{}, false, nil
	}
	if err != nil {
		return position{}, false, err
	}
	if at, err = decodePosition(b); err != nil {
		return position{}, false, fmt.Errorf("read %s: %w", s.notePath(), err)
	}
	return at, true, nil
}

func decodePosition(b []byte) (at position, err error) {
	if err := json.Unmarshal(b, &at); err != nil {
		return position{}, fmt.Errorf("position of the file: %w", err)
	}
	if at.Size < 0 {
		return position{}, errors.New("position of the file: it is negative")
	}
	return at, nil
}

// note replaces the position as a whole: half of it would be worth nothing.
func (s *Sink) note(at position) error {
	b, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("note position: %w", err)
	}
	tmp := s.notePath() + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("note position: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note position: %w", err)
	}
	if err := os.Rename(tmp, s.notePath()); err != nil {
		return fmt.Errorf("note position: %w", err)
	}
	return syncDir(filepath.Dir(s.cfg.Path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// rotate puts the file away under the number of its last entry and begins a new
// one. All that it holds is noted, so a stop at any moment loses nothing.
func (s *Sink) rotate() error {
	away := ""
	for n := 0; ; n++ { // replayed entries do not move the number
		away = fmt.Sprintf("%s.%016x-%03d", s.cfg.Path, s.at.Seq, n)
		if _, err := os.Lstat(away); err != nil {
			break
		}
	}
	if err := os.Rename(s.cfg.Path, away); err != nil {
		return fmt.Errorf("rotate records: %w", err)
	}
	seq := s.at.Seq
	if err := s.shut(); err != nil {
		return err
	}
	if err := s.note(position{Seq: seq}); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.dropOld()
}

// dropOld removes the oldest files that were put away.
func (s *Sink) dropOld() error {
	if s.cfg.Keep < 0 {
		return nil
	}
	names, err := os.ReadDir(filepath.Dir(s.cfg.Path))
	if err != nil {
		return fmt.Errorf("drop old records: %w", err)
	}
	prefix := filepath.Base(s.cfg.Path) + "."
	var old []string
	for _, n := range names {
		if rest, ok := strings.CutPrefix(n.Name(), prefix); ok && len(rest) >= 20 && strings.Trim(rest, "0123456789abcdef-") == "" {
			old = append(old, n.Name())
		}
	}
	slices.Sort(old)
	for len(old) > s.cfg.Keep {
		if err := os.Remove(filepath.Join(filepath.Dir(s.cfg.Path), old[0])); err != nil {
			return fmt.Errorf("drop old records: %w", err)
		}
		old = old[1:]
	}
	return nil
}

func (s *Sink) shut() error {
	f := s.file
	s.file = nil
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close records: %w", err)
	}
	return nil
}

// Close closes the file; a later delivery opens it again.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shut()
}
