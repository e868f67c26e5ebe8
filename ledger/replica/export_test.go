package replica

import "tollgate/ledger/store"

// LedgerOf is the copy of a book, nil when there is none.
func LedgerOf(k *Keeper, book string) (l *store.Ledger) {
	if c, err := k.get(book, false); err == nil {
		_ = c.use(func(cp *store.Copy) error { l = cp.Ledger(); return nil })
	}
	return l
}

// OpenCalls is how many calls are open as far as a copy knows.
func OpenCalls(k *Keeper, book string) (n int) {
	if c, err := k.get(book, false); err == nil {
		_ = c.use(func(cp *store.Copy) (err error) { n, err = cp.CountOpen(); return err })
	}
	return n
}

// Put is a put for tests of the wire.
type Put struct {
	Book      string
	Anew, Ask bool
	Turn      [2]uint64
	store.CopyBatch
}

// AppendPut, DecodePut and the others are what is sent.
func AppendPut(p *Put) []byte {
	return appendPut(nil, &put{book: p.Book, turn: turn{p.Turn[0], p.Turn[1]}, anew: p.Anew, ask: p.Ask, CopyBatch: p.CopyBatch})
}

// DecodePut reads a put.
func DecodePut(b []byte) (*Put, error) {
	kind, rest, err := open(b)
	if err != nil {
		return nil, err
	}
	if kind != kindPut {
		return nil, ErrWire
	}
	p, err := decodePut(rest)
	if err != nil {
		return nil, err
	}
	return &Put{p.book, p.anew, p.ask, [2]uint64{p.turn.incarnation, p.turn.number}, p.CopyBatch}, nil
}

// The other messages.
var (
	AppendStates = appendStates
	DecodeStates = decodeStates
	DecodePlace  = func(b []byte) (base, position uint64, err error) {
		p, err := decodePlace(b)
		return p.base, p.position, err
	}
)

// Tidy does the upkeep of all copies.
func Tidy(k *Keeper) error {
	for _, c := range k.all() {
		if err := c.use(func(cp *store.Copy) error { return cp.Upkeep(k.cfg.Clock.Now()) }); err != nil {
			return err
		}
	}
	return nil
}

// AppendFound and DecodeFound are what a keeper tells of a call.
func AppendFound(b []byte, f *Found) []byte { return appendFound(b, f) }
func DecodeFound(b []byte) (*Found, error)  { return decodeFound(b) }
