package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// indexBatch is how many entries one pass takes: enough that rollups collapse,
// few enough that a pass is short.
const indexBatch = 1024

// indexer writes everything that can be derived from entries: lookups, the time
// index, rollups, totals and the settled sums. It reads behind its own durable
// cursor and moves it in the batch that writes what it derived, so each entry
// counts exactly once however often the process dies.
type indexer struct {
	done atomic.Uint64 // last entry indexed

	mu     sync.Mutex // one pass at a time; guards minute and sums
	minute minuteRow
	sums   sumCache
}

// minuteRow says which entries were settled in one minute. Minutes never run
// backwards, so consecutive rows are consecutive stretches of entries.
type minuteRow struct {
	minute   int64
	first    uint64
	earliest int64 // start of the call that began first, Unix seconds
}

func (ix *indexer) load(l *Ledger) error {
	ix.sums.bound(rollupsKept, amountsKept)
	done, err := l.metaUint(metaIndexed)
	if err != nil {
		return err
	}
	ix.done.Store(done)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kMinute}, UpperBound: []byte{kMinute + 1}})
	if err != nil {
		return fmt.Errorf("read time index: %w", err)
	}
	if it.Last() {
		ix.minute, err = readMinute(it.Key(), it.Value())
	}
	return errors.Join(err, it.Close())
}

// CatchUp returns when every entry committed before the call is in the index.
func (l *Ledger) CatchUp() error {
	target := l.durable.Load()
	for l.index.done.Load() < target {
		if err := l.indexPass(); err != nil {
			return fmt.Errorf("index ledger: %w", err)
		}
	}
	return nil
}

// indexPass indexes the next entries, at most indexBatch.
func (l *Ledger) indexPass() error {
	ix := &l.index
	ix.mu.Lock()
	defer ix.mu.Unlock()
	from, to := ix.done.Load(), l.durable.Load()
	if from >= to {
		return nil
	}
	p := pass{
		l: l, batch: l.db.NewBatch(), minute: ix.minute, sums: &ix.sums,
		rollups: map[RollupKey]*Sums{}, totals: map[scopeKey]unit.Money{}, settled: map[settledKey]unit.Money{},
	}
	defer p.batch.Close()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: seqKey(nil, kEntry, from+1), UpperBound: seqKey(nil, kEntry, to+1)})
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	var calls []CallID
	last := to // with nothing found all up to here is done
	for it.First(); it.Valid(); it.Next() {
		if len(calls) == indexBatch {
			break
		}
		seq := seqOf(it.Key())
		e, err := decodeEntry(seq, it.Value())
		if err != nil {
			// One damaged row must not stop the books for ever.
			l.cfg.Logger.Error("entry not readable", "seq", seq, "error", err)
			continue
		}
		if err := p.add(e); err != nil {
			return errors.Join(err, it.Close())
		}
		calls = append(calls, e.CallID)
		last = seq
	}
	if !it.Valid() {
		last = to
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	if err := p.finish(last); err != nil {
		ix.sums.forget() // they count what is not on the disk
		return err
	}
	ix.minute = p.minute
	ix.done.Store(last)

	// Only now may the committer forget them: duplicates are found in the index.
	l.commits.recentMu.Lock()
	for _, c := range calls {
		if l.commits.recent[c] <= last {
			delete(l.commits.recent, c)
		}
	}
	l.commits.recentMu.Unlock()
	return nil
}

type settledKey struct {
	incarnation uint64
	scope       model.Scope
	window      int64
}

// pass gathers what one batch of entries adds.
type pass struct {
	l       *Ledger
	batch   *pebble.Batch
	minute  minuteRow
	sums    *sumCache
	rollups map[RollupKey]*Sums
	totals  map[scopeKey]unit.Money
	settled map[settledKey]unit.Money
	buf     []byte
}

func (p *pass) add(e *Entry) error {
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], e.Seq)
	p.buf = callKey(p.buf[:0], kLookup, e.CallID)
	if err := p.batch.Set(p.buf, seq[:], nil); err != nil {
		return fmt.Errorf("index call: %w", err)
	}
	if e.RequestID != "" {
		p.buf = append(requestKey(p.buf[:0], e.RequestID), seq[:]...)
		if err := p.batch.Set(p.buf, nil, nil); err != nil {
			return fmt.Errorf("index request: %w", err)
		}
	}
	if err := p.addMinute(e); err != nil {
		return err
	}
	sums := SumsOf(e)
	rollupsOf(e, func(k RollupKey) {
		s := p.rollups[k]
		if s == nil {
			s = new(Sums)
			p.rollups[k] = s
		}
		s.Add(sums)
	})
	if e.Cost.Total != 0 {
		eachScope(e, func(k scopeKey) { p.totals[k] = p.totals[k].Add(e.Cost.Total) })
		for _, c := range e.Charges {
			k := settledKey{e.Charged(), c.Scope, c.Window}
			p.settled[k] = p.settled[k].Add(e.Cost.Total)
		}
	}
	return nil
}

func (p *pass) addMinute(e *Entry) error {
	at := e.End
	if at.IsZero() {
		at = e.Start
	}
	start := e.Start.Unix()
	if m := at.Unix() / 60; m > p.minute.minute || p.minute.first == 0 {
		if err := p.putMinute(); err != nil {
			return err
		}
		p.minute = minuteRow{minute: m, first: e.Seq, earliest: start}
	} else if start < p.minute.earliest {
		p.minute.earliest = start
	}
	return nil
}

func (p *pass) putMinute() error {
	if p.minute.first == 0 {
		return nil
	}
	if err := p.batch.Set(minuteKey(p.minute.minute), appendMinute(nil, p.minute), nil); err != nil {
		return fmt.Errorf("index minute: %w", err)
	}
	return nil
}

// finish adds to the sums, writes them and the cursor, and commits.
func (p *pass) finish(last uint64) error {
	if err := p.putMinute(); err != nil {
		return err
	}
	for k, add := range p.rollups {
		if err := p.addRollup(rollupKey(&k), add); err != nil {
			return err
		}
	}
	for k, add := range p.totals {
		if err := p.addMoney(totalKey(k), add); err != nil {
			return err
		}
	}
	for k, add := range p.settled {
		if err := p.addMoney(settledKeyBytes(k), add); err != nil {
			return err
		}
	}
	if err := p.batch.Set(metaKey(metaIndexed), binary.BigEndian.AppendUint64(nil, last), nil); err != nil {
		return fmt.Errorf("write index cursor: %w", err)
	}
	// Not synced: if it is lost, so is its cursor, and the pass is made again.
	return p.l.apply(p.batch, false)
}

func (p *pass) get(key []byte) ([]byte, error) {
	v, closer, err := p.l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read sum: %w", err)
	}
	out := append([]byte(nil), v...)
	return out, closer.Close()
}

func minuteKey(minute int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kMinute}, uint64(minute)^1<<63)
}

func appendMinute(b []byte, m minuteRow) []byte {
	b = append(b, wireVersion)
	b = putUint(b, 1, m.first)
	return putInt(b, 2, m.earliest)
}

func readMinute(key, value []byte) (minuteRow, error) {
	if len(key) != 9 || len(value) == 0 || value[0] != wireVersion {
		return minuteRow{}, fmt.Errorf("%w: time index", ErrCorrupt)
	}
	m := minuteRow{minute: int64(binary.BigEndian.Uint64(key[1:]) ^ 1<<63)}
	r := reader{b: string(value[1:])}
	for {
		n, v, _ := r.next()
		switch n {
		case 0:
			return m, r.err
		case 1:
			m.first = v
		case 2:
			m.earliest = unzig(v)
		}
	}
}

func settledPrefix(incarnation uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kSettled}, incarnation)
}

func settledKeyBytes(k settledKey) []byte {
	b := append(settledPrefix(k.incarnation), byte(k.scope.Dim))
	b = appendText(b, k.scope.ID)
	return binary.BigEndian.AppendUint64(b, uint64(k.window))
}

// indexEvery is how far the index may lag behind when nobody asks: readers that
// need it whole call CatchUp.
const indexEvery = time.Second
