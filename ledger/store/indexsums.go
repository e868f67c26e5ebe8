package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/config/unit"
)

// The bounds of each half of a sumCache: what 60,000 to 130,000 keys need, a
// daily sum and three or four amounts each. Full, it takes about 40 MiB.
const (
	rollupsKept = 1 << 16
	amountsKept = 1 << 18
)

// sumID stands for a sum's key. A hundred thousand keys as text would take four
// times the memory; a digest that nobody finds a second text for is as exact.
type sumID [16]byte

func idOf(key []byte) sumID {
	d := sha256.Sum256(key)
	return sumID(d[:16])
}

// sumCache holds sums as the index has them on the disk, so that a pass over
// calls of many keys does not read each of their rows again. Only the indexer
// writes those rows, so what was written last is what stands there. Of what was
// not used for long it forgets half at once: that needs no order among the rest.
//
// What is in it must be on its way to the disk in the same batch as the cursor;
// after a batch that failed it is emptied.
type sumCache struct {
	rollups halves[Sums]
	amounts halves[unit.Money]
}

func (c *sumCache) forget() {
	c.rollups.drop()
	c.amounts.drop()
}

// bound sets the sizes, in sums of a half.
func (c *sumCache) bound(rollups, amounts int) { c.rollups.most, c.amounts.most = rollups, amounts }

// halves is a map of bounded size: young takes what is used, and becomes old
// when it is full; what was old then and never used since is gone.
type halves[V any] struct {
	most       int
	young, old map[sumID]V
}

func (h *halves[V]) drop() { h.young, h.old = nil, nil }

func (h *halves[V]) get(id sumID) (V, bool) {
	v, ok := h.young[id]
	if !ok {
		v, ok = h.old[id]
	}
	return v, ok
}

func (h *halves[V]) put(id sumID, v V) {
	if h.young == nil || len(h.young) >= h.most {
		h.young, h.old = map[sumID]V{}, h.young
	}
	h.young[id] = v
}

// dropSums applies a batch that deletes sums. A call that comes late begins its
// sum anew.
func (l *Ledger) dropSums(b *pebble.Batch) error {
	l.index.mu.Lock()
	defer l.index.mu.Unlock()
	l.index.sums.forget()
	return l.apply(b, false)
}

// addRollup adds to one daily sum.
func (p *pass) addRollup(key []byte, add *Sums) error {
	id := idOf(key)
	sum, known := p.sums.rollups.get(id)
	if !known {
		old, err := p.get(key)
		if err != nil {
			return err
		}
		if old != nil {
			if sum, err = readSums(old); err != nil {
				return err
			}
		}
	}
	sum.Add(*add)
	p.sums.rollups.put(id, sum)
	p.buf = appendSums(p.buf[:0], &sum)
	if err := p.batch.Set(key, p.buf, nil); err != nil {
		return fmt.Errorf("write rollup: %w", err)
	}
	return nil
}

// addMoney adds to a total or a settled sum.
func (p *pass) addMoney(key []byte, add unit.Money) error {
	id := idOf(key)
	sum, known := p.sums.amounts.get(id)
	if !known {
		old, err := p.get(key)
		if err != nil {
			return err
		}
		if old != nil {
			have, w := binary.Varint(old)
			if w <= 0 {
				return fmt.Errorf("%w: a sum", ErrCorrupt)
			}
			sum = unit.Money(have)
		}
	}
	sum = sum.Add(add)
	p.sums.amounts.put(id, sum)
	p.buf = binary.AppendVarint(p.buf[:0], int64(sum))
	if err := p.batch.Set(key, p.buf, nil); err != nil {
		return fmt.Errorf("write sum: %w", err)
	}
	return nil
}
