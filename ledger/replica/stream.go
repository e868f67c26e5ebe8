package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"tollgate/ledger/store"
)

// stream is the state of a Sender's Run.
type stream struct {
	*Sender
	turn turn   // of the last message
	met  bool   // the peer has said where its copy stands
	anew bool   // it is to throw it away
	pos  uint64 // the copy's position
	// floored is the last entry that no copy was needed of, as last seen.
	floored uint64

	// Intents that the peer has, and those it is to drop once it has the entries
	// up to the number: a call must not vanish between its intent and its entry.
	known map[store.CallID]uint64
	gone  map[store.CallID]uint64
	reset bool
	// looked is when intents were last looked for, told when the floor was last said.
	looked, told time.Time

	faults   int
	failing  time.Time // since when the peer does not answer
	said     string
	released time.Time // when the others were last told to drop their copies
}

// choose keeps or changes the peer; false: there is none.
func (w *stream) choose() bool {
	now := w.cfg.Clock.Now()
	late := !w.failing.IsZero() && now.Sub(w.failing) >= w.cfg.Patience
	v := w.cfg.View()
	present := w.Peer()
	best, ok := Choose(v, present, func(m *Member) bool {
		if m.ID == present {
			return !late // one that is being restarted keeps its copy
		}
		return m.Alive
	})
	if !ok && present != "" { // late, but there is no other
		best, ok = Choose(v, present, func(m *Member) bool { return m.ID == present })
	}
	switch {
	case !ok:
		w.drop()
	case best.ID != present:
		w.log.Info("ledger is copied to another node", "peer", best.ID, "before", present)
		if present != "" {
			w.counts.moves.Add(1)
		}
		w.part()
		w.acked.Store(0)
		w.released = time.Time{}
		w.set(func() { w.peer, w.lastErr = best, nil })
	default:
		w.mu.Lock()
		w.peer = best
		w.mu.Unlock()
	}
	return ok
}

// drop is for a node that copies to nobody.
func (w *stream) drop() {
	if w.Peer() == "" {
		return
	}
	w.part()
	w.acked.Store(0)
	w.set(func() { w.peer, w.lastErr = Member{}, nil })
}

// part forgets all that is known of the peer's copy.
func (w *stream) part() {
	w.met, w.anew, w.reset = false, false, true
	w.known, w.gone = nil, nil
	w.faults, w.failing, w.said = 0, time.Time{}, ""
}

func (w *stream) fault(err error) {
	w.faults++
	w.counts.faults.Add(1)
	if w.failing.IsZero() {
		w.failing = w.cfg.Clock.Now()
	}
	if s := err.Error(); s != w.said {
		w.said = s
		w.log.Warn("copying to another node failed, it is tried again", "peer", w.Peer(), "error", err)
	}
	// What the peer has of the last message is not known: it will say.
	w.met = false
	w.set(func() { w.lastErr = err })
}

func (w *stream) well() {
	if w.said != "" {
		w.log.Info("copying goes on", "peer", w.Peer(), "seq", w.pos)
	}
	w.faults, w.failing, w.said = 0, time.Time{}, ""
	w.acked.Store(w.pos)
	if w.pos >= w.cfg.Ledger.LastSeq() {
		w.lagging.Store(false)
	}
	w.set(func() { w.lastErr = nil })
}

// tellEvery is how often the peer hears how far copies are needed when there is
// nothing else to say, and releaseEvery how often others hear that theirs are not.
const (
	tellEvery    = 5 * time.Second
	releaseEvery = 10 * time.Minute
)

var errFloorFell = errors.New("the database lacks entries that it had: the copy is looked at anew")

// step does one thing: ask where the copy stands, wait, or send a message.
func (w *stream) step(ctx context.Context) error {
	if !w.met {
		return w.meet(ctx)
	}
	w.wait(ctx)
	if ctx.Err() != nil {
		return nil
	}
	p, bytes, err := w.gather()
	if err != nil {
		return err
	}
	now := w.cfg.Clock.Now()
	if p.UpTo == p.After && !p.anew && !p.Reset && len(p.Intents)+len(p.Gone) == 0 && now.Sub(w.told) < tellEvery {
		return w.release(ctx, now)
	}
	at, err := w.send(ctx, p)
	if err != nil {
		return err
	}
	w.told = now
	if at.answer == answerGap {
		w.met = false
		return nil
	}
	w.counts.batches.Add(1)
	w.counts.bytes.Add(uint64(bytes))
	w.counts.entries.Add(uint64(len(p.Entries)))
	w.kept(p)
	w.pos = max(w.pos, p.UpTo, at.position)
	w.well()
	return nil
}

func (w *stream) send(ctx context.Context, p *put) (place, error) {
	ctx, end := context.WithTimeout(ctx, w.cfg.Within)
	defer end()
	w.turn.number++
	p.turn = w.turn
	answer, err := w.cfg.Call(ctx, w.Peer(), appendPut(nil, p))
	if err != nil {
		return place{}, err
	}
	at, err := decodePlace(answer)
	if err != nil {
		return place{}, fmt.Errorf("answer of %s: %w", w.Peer(), err)
	}
	return at, nil
}

// meet asks where the peer's copy stands, and decides where to go on.
func (w *stream) meet(ctx context.Context) error {
	at, err := w.send(ctx, &put{book: w.cfg.Book, ask: true})
	if err != nil {
		return err
	}
	floor := w.floor()
	w.met, w.reset, w.known, w.gone, w.anew = true, true, nil, nil, false
	switch {
	case at.base > floor:
		// It lacks entries that are needed again: the database was put back.
		w.anew, w.pos = true, floor
	case at.position < floor:
		w.pos = floor
	default:
		w.pos = at.position
	}
	w.well()
	return nil
}

// wait returns when there may be something to send: an entry that has lingered,
// or calls in flight to look for.
func (w *stream) wait(ctx context.Context) {
	l := w.cfg.Ledger
	w.mu.Lock()
	hurry := w.hurry
	w.mu.Unlock()
	if w.anew || w.reset {
		return
	}
	if l.LastSeq() <= w.pos {
		until := w.cfg.IntentEvery - w.cfg.Clock.Now().Sub(w.looked)
		if until <= 0 {
			return
		}
		within, end := context.WithTimeout(ctx, until)
		err := l.Wait(within, w.pos)
		end()
		if err != nil {
			return
		}
	}
	if w.urgent.Load() > w.pos || w.cfg.Mode() == Sync {
		return
	}
	t := time.NewTimer(w.cfg.Linger)
	defer t.Stop()
	select {
	case <-hurry:
	case <-t.C:
	case <-ctx.Done():
	}
}

// gather makes the next message.
func (w *stream) gather() (p *put, bytes int, err error) {
	p = &put{book: w.cfg.Book, anew: w.anew}
	p.Floor, p.Reset = w.floor(), w.reset
	if p.Floor < w.floored { // the database was put back: the copy may lack what is needed again
		w.met, w.floored = false, p.Floor
		return nil, 0, errFloorFell
	}
	w.floored = p.Floor
	w.pos = max(w.pos, p.Floor)
	p.After = w.pos
	now := w.cfg.Clock.Now()
	if w.reset || now.Sub(w.looked) >= w.cfg.IntentEvery {
		w.looked = now
		if err := w.look(p, now, &bytes); err != nil {
			return nil, 0, err
		}
	}
	if err := w.take(p, &bytes); err != nil {
		return nil, 0, err
	}
	for call, after := range w.gone {
		if after <= p.UpTo {
			p.Gone = append(p.Gone, call)
			bytes += len(call)
		}
	}
	return p, bytes, nil
}

// look finds the calls in flight that the peer does not know of, and those that
// are in flight no more.
func (w *stream) look(p *put, now time.Time, bytes *int) error {
	open := map[store.CallID]bool{}
	full := false
	err := w.cfg.Ledger.OpenIntents(func(in store.OpenIntent) {
		known, is := w.known[in.CallID]
		if !is && now.Sub(in.At) < w.cfg.IntentAge { // most are over before that
			return
		}
		sum := xxhash.Sum64(in.Raw)
		if in.Settling && !is { // its entry follows
			return
		}
		open[in.CallID] = true
		switch {
		case in.Settling || is && known == sum:
		case *bytes > w.cfg.MaxBytes/2:
			full = true // the rest goes with the next message
		default:
			p.Intents = append(p.Intents, in)
			*bytes += len(in.Raw)
		}
	})
	if err != nil {
		return err
	}
	if full {
		w.looked = time.Time{}
	}
	// What is open no more was settled or taken back before this number.
	last := w.cfg.Ledger.LastSeq()
	for call := range w.known {
		if _, noted := w.gone[call]; !open[call] && !noted {
			if w.gone == nil {
				w.gone = map[store.CallID]uint64{}
			}
			w.gone[call] = last
		}
	}
	return nil
}

// take adds entries up to the size of a message; one always goes.
func (w *stream) take(p *put, bytes *int) error {
	l, peer := w.cfg.Ledger, w.peerNow()
	last := l.LastSeq()
	p.UpTo = max(w.pos, last)
	for r, err := range l.Records(w.pos, last) {
		if err != nil {
			return err
		}
		if len(p.Entries) > 0 && *bytes+len(r.Entry)+len(r.Bodies)+len(r.Answer) > w.cfg.MaxBytes {
			p.UpTo = r.Seq - 1
			break
		}
		if w.cfg.Allow != nil {
			e, err := r.Decode()
			if err != nil { // damaged: nobody can say where it may go
				w.log.Error("entry not readable, it is not copied", "seq", r.Seq, "error", err)
				continue
			}
			switch w.cfg.Allow(e, peer) {
			case Nothing:
				w.counts.withheld.Add(1)
				continue
			case Bare:
				r = r.Bare(e)
				w.counts.bared.Add(1)
			}
		}
		p.Entries = append(p.Entries, r)
		*bytes += len(r.Entry) + len(r.Bodies) + len(r.Answer) + 16
	}
	return nil
}

func (w *stream) peerNow() Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peer
}

// kept notes what the peer now has.
func (w *stream) kept(p *put) {
	w.anew, w.reset = false, false
	if w.known == nil {
		w.known = map[store.CallID]uint64{}
	}
	for i := range p.Intents {
		w.known[p.Intents[i].CallID] = xxhash.Sum64(p.Intents[i].Raw)
		delete(w.gone, p.Intents[i].CallID)
	}
	for _, call := range p.Gone {
		delete(w.known, call)
		delete(w.gone, call)
	}
}

// release tells the other nodes that their copies, older ones, are needed no
// more, once the peer's is whole.
func (w *stream) release(ctx context.Context, now time.Time) error {
	if now.Sub(w.released) < releaseEvery || w.pos < w.cfg.Ledger.LastSeq() {
		return nil
	}
	w.released = now
	peer := w.Peer()
	v := w.cfg.View()
	for i := range v.Members {
		m := &v.Members[i]
		if m.ID == v.Self || m.ID == peer || !m.Alive {
			continue
		}
		within, end := context.WithTimeout(ctx, w.cfg.Within)
		_, err := w.cfg.Call(within, m.ID, appendRelease(nil, w.cfg.Book, w.pos))
		end()
		if err != nil {
			w.log.Debug("a node does not drop its older copy yet", "node", m.ID, "error", err)
		}
	}
	return nil
}
