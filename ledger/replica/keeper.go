package replica

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/query"
	"tollgate/ledger/store"
)

// KeeperConfig is what a Keeper works with.
type KeeperConfig struct {
	// Dir holds a folder for each copy.
	Dir string
	// MaxBytes bounds one copy: at 80 % it loses its bodies, at 95 % it takes
	// no more. Default 4 GiB.
	MaxBytes int64
	// KeepFor is how long entries of a lost node stay where no database has them,
	// default as in the ledger.
	KeepFor time.Duration
	// Lost reports whether a node was taken out of the cluster for good.
	Lost func(node string) bool
	// Books gives where the entries of a ledger go; nil without a database.
	Books func(book string) Books
	// Claim says whether this node is to take a lost node's ledger over; nil: it
	// is. See Directory.
	Claim func(ctx context.Context, book string) (Verdict, error)
	// Users tells what the user column of rows holds.
	Users func() query.UserColumn
	// Shown says whether a node, by its id, may be shown a row with what its client
	// sent; nil: always.
	Shown func(node string, r *query.Row) bool
	// Answers says whether a node may be told what a call was answered; nil: every
	// node may.
	Answers func(node string, e *store.Entry) bool
	// Whole says whether Books may have an entry as it is; nil: always.
	Whole func(*store.Entry) bool
	// Every is how often lost nodes and upkeep are looked at, default 5 s.
	Every time.Duration
	// Fatal is told when a copy's engine cannot go on; see store.Config.
	Fatal  func(error)
	Clock  unit.Clock
	Logger *slog.Logger
}

// Keeper keeps other nodes' copies.
type Keeper struct {
	cfg KeeperConfig
	log *slog.Logger

	mu      sync.Mutex // guards what follows, never held over I/O but to open or delete a copy
	copies  map[string]*kept
	senders map[string]*senderTurn
	closed  bool
}

// senderTurn lets the messages of one ledger in, one at a time and in order.
type senderTurn struct {
	mu   sync.Mutex // guards last, and is held while a message is worked off
	last turn
}

// kept is one copy. Who uses it holds mu for reading, who replaces it for
// writing: the files of a copy in use are not closed.
type kept struct {
	book string
	dir  string
	mu   sync.RWMutex
	copy *store.Copy // nil once it is dropped
}

// maxBook bounds a book's name: it becomes a folder's.
const maxBook = 100

// NewKeeper opens the copies that are there. One that cannot be read is put
// aside: its owner sends it anew, and if the owner is lost, so is the copy.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	def(&cfg.MaxBytes, 4<<30)
	def(&cfg.Every, 5*time.Second)
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Lost == nil {
		cfg.Lost = func(string) bool { return false }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the copies' directory: %w", err)
	}
	k := &Keeper{cfg: cfg, log: cfg.Logger, copies: map[string]*kept{}, senders: map[string]*senderTurn{}}
	found, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("look for copies: %w", err)
	}
	for _, f := range found {
		name, err := hex.DecodeString(f.Name())
		if err != nil || !f.IsDir() || len(name) == 0 {
			if strings.HasSuffix(f.Name(), dropped) { // its removal was broken off
				if err := os.RemoveAll(filepath.Join(cfg.Dir, f.Name())); err != nil {
					k.log.Warn("folder of a dropped copy not removed", "folder", f.Name(), "error", err)
				}
			}
			continue
		}
		if _, err := k.open(string(name)); err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	return k, nil
}

// Suffixes of folders that are no copies any more.
const (
	dropped = ".dropped"
	damaged = ".damaged"
)

// open opens or makes a copy; called with mu held, or before anybody else knows k.
func (k *Keeper) open(book string) (*kept, error) {
	if book == "" || len(book) > maxBook {
		return nil, fmt.Errorf("%w: a ledger's name of %d bytes", ErrWire, len(book))
	}
	c := &kept{book: book, dir: filepath.Join(k.cfg.Dir, hex.EncodeToString([]byte(book)))}
	var err error
	if c.copy, err = store.OpenCopy(k.storeConfig(c.dir)); err != nil {
		k.log.Error("a copy is not readable and is put aside", "book", book, "folder", c.dir+damaged, "error", err)
		if err := errors.Join(os.RemoveAll(c.dir+damaged), os.Rename(c.dir, c.dir+damaged)); err != nil {
			return nil, fmt.Errorf("put a damaged copy aside: %w", err)
		}
		if c.copy, err = store.OpenCopy(k.storeConfig(c.dir)); err != nil {
			return nil, err
		}
	}
	k.copies[book] = c
	return c, nil
}

func (k *Keeper) storeConfig(dir string) store.Config {
	return store.Config{
		Dir: dir, MaxBytes: k.cfg.MaxBytes, KeepFor: k.cfg.KeepFor, CacheBytes: 2 << 20, Ballast: -1,
		Clock: k.cfg.Clock, Logger: k.cfg.Logger, Fatal: k.cfg.Fatal,
	}
}

// get finds a copy, and makes it where wanted.
func (k *Keeper) get(book string, make bool) (*kept, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch c := k.copies[book]; {
	case k.closed:
		return nil, fmt.Errorf("%w: this node is stopping", ErrNotKept)
	case c != nil:
		return c, nil
	case make:
		return k.open(book)
	}
	return nil, fmt.Errorf("%w: %s", ErrNotKept, book)
}

// drop closes a copy and deletes it. The folder is renamed first, so that a
// process that dies on the way does not leave half a copy under its name.
func (k *Keeper) drop(c *kept) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy == nil {
		return nil
	}
	err := c.copy.Close()
	c.copy = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.copies[c.book] == c {
		delete(k.copies, c.book)
	}
	err = errors.Join(err, os.RemoveAll(c.dir+dropped), os.Rename(c.dir, c.dir+dropped), os.RemoveAll(c.dir+dropped))
	if err != nil {
		return fmt.Errorf("drop the copy of %s: %w", c.book, err)
	}
	return nil
}

// use runs fn with a copy that stays while it runs.
func (c *kept) use(fn func(*store.Copy) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.copy == nil {
		return fmt.Errorf("%w: %s", ErrNotKept, c.book)
	}
	return fn(c.copy)
}

// Serve answers another node. from is the node that its certificate proves.
func (k *Keeper) Serve(ctx context.Context, from string, payload []byte) ([]byte, error) {
	kind, rest, err := open(payload)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindPut:
		p, err := decodePut(rest)
		if err != nil {
			return nil, err
		}
		return k.put(from, p)
	case kindRelease:
		c := cutter{b: rest}
		book, upTo := string(c.bytes()), c.uint()
		if c.bad {
			return nil, c.err()
		}
		return appendPlace(nil, place{answer: answerKept}), k.release(from, book, upTo)
	case kindStates:
		return appendStates(nil, k.States()), nil
	case kindQuery:
		c := cutter{b: rest}
		book := string(c.bytes())
		if c.bad {
			return nil, c.err()
		}
		return k.answer(ctx, from, book, c.b)
	case kindFind:
		return k.serveFind(from, rest)
	}
	return nil, fmt.Errorf("%w: of a kind that is not known here", ErrWire)
}

// put keeps what a node sends of its ledger.
func (k *Keeper) put(from string, p *put) ([]byte, error) {
	if err := k.may(from, p.book); err != nil {
		return nil, err
	}
	k.mu.Lock()
	sender := k.senders[p.book]
	if sender == nil {
		sender = &senderTurn{}
		k.senders[p.book] = sender
	}
	k.mu.Unlock()
	sender.mu.Lock()
	defer sender.mu.Unlock()
	if !p.turn.after(sender.last) {
		return nil, errLate
	}
	sender.last = p.turn
	return k.keep(from, p)
}

var errLate = errors.New("keep a copy: a later message has come before this one")

// may refuses a ledger that is another node's.
func (k *Keeper) may(from, book string) error {
	c, err := k.get(book, false)
	if err != nil {
		return nil // it is nobody's yet
	}
	var holder string
	_ = c.use(func(cp *store.Copy) error { holder = cp.State().Holder; return nil }) // one that is being dropped is nobody's
	if holder != "" && holder != from && !k.cfg.Lost(holder) {
		return fmt.Errorf("keep a copy: the ledger %s is node %s's", book, holder)
	}
	return nil
}

func (k *Keeper) keep(from string, p *put) ([]byte, error) {
	c, err := k.get(p.book, !p.ask)
	if errors.Is(err, ErrNotKept) && p.ask {
		return appendPlace(nil, place{answer: answerHave}), nil
	}
	if err != nil {
		return nil, err
	}
	var s store.CopyState
	if err := c.use(func(cp *store.Copy) error { s = cp.State(); return nil }); err != nil {
		return nil, err
	}
	if p.ask {
		if s.Taken { // it knows better itself what became of its calls
			s = store.CopyState{}
		}
		return appendPlace(nil, place{answerHave, s.Base, s.Position}), nil
	}
	if p.anew || s.Taken {
		if err := k.drop(c); err != nil {
			return nil, err
		}
		if c, err = k.get(p.book, true); err != nil {
			return nil, err
		}
		k.log.Info("the copy of a ledger begins anew", "book", p.book, "node", from, "after", p.After)
	}
	p.Holder = from
	answer := place{answer: answerKept}
	err = c.use(func(cp *store.Copy) error {
		err := cp.Put(&p.CopyBatch)
		if errors.Is(err, store.ErrGap) {
			answer.answer, err = answerGap, nil
		}
		s := cp.State()
		answer.base, answer.position = s.Base, s.Position
		return err
	})
	if err != nil {
		return nil, err
	}
	return appendPlace(nil, answer), nil
}

// release drops a copy that its owner has elsewhere as far as here.
func (k *Keeper) release(from, book string, upTo uint64) error {
	c, err := k.get(book, false)
	if err != nil {
		return nil // none is here
	}
	free := false
	err = c.use(func(cp *store.Copy) error {
		s := cp.State()
		free = (s.Holder == from || k.cfg.Lost(s.Holder)) && s.Position <= upTo
		return nil
	})
	if err != nil || !free {
		return nil
	}
	k.log.Info("a copy is dropped: another node keeps it", "book", book)
	return k.drop(c)
}

// States are the copies that are here, by name.
func (k *Keeper) States() []State {
	var all []State
	for _, c := range k.all() {
		_ = c.use(func(cp *store.Copy) error { // one that is being dropped is none
			all = append(all, State{Book: c.book, CopyState: cp.State()})
			return nil
		})
	}
	return all
}

func (k *Keeper) all() []*kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*kept, 0, len(k.copies))
	for _, c := range k.copies {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *kept) int { return strings.Compare(a.book, b.book) })
	return out
}

// Close closes all copies.
func (k *Keeper) Close() error {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	var errs []error
	for _, c := range k.all() {
		c.mu.Lock()
		if c.copy != nil {
			errs = append(errs, c.copy.Close())
			c.copy = nil
		}
		c.mu.Unlock()
	}
	return errors.Join(errs...)
}
