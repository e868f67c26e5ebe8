package gossip

// windowBits is how far a message may be overtaken and still count. Packets
// come late by a few; memberlist itself works its queue from the newest end.
const windowBits = 1024

// window remembers which messages of one sender and kind have been seen, so
// that a repeated packet, an echo of a relay or a recording played back changes
// nothing. What is older than the window counts as seen.
type window struct {
	started bool
	inc     uint32
	top     uint64
	bits    [windowBits / 64]uint64
}

// accept tells whether the message is new, and remembers it.
func (w *window) accept(inc uint32, seq uint64) bool {
	switch {
	case !w.started || int32(inc-w.inc) > 0:
		*w = window{started: true, inc: inc, top: seq}
	case inc != w.inc:
		return false
	case seq > w.top:
		w.advance(seq)
	case w.top-seq >= windowBits || w.has(seq):
		return false
	}
	w.bits[seq/64%uint64(len(w.bits))] |= 1 << (seq % 64)
	return true
}

func (w *window) has(seq uint64) bool {
	return w.bits[seq/64%uint64(len(w.bits))]&(1<<(seq%64)) != 0
}

// advance makes seq the newest and forgets what falls out at the other end.
func (w *window) advance(seq uint64) {
	if seq-w.top >= windowBits {
		w.bits = [windowBits / 64]uint64{}
	} else {
		for s := w.top + 1; s <= seq; s++ {
			w.bits[s/64%uint64(len(w.bits))] &^= 1 << (s % 64)
		}
	}
	w.top = seq
}
