package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// ErrNotAlive says that nothing was sent: the node does not count as alive.
var ErrNotAlive = errors.New("the node is not alive in gossip")

// ringSize is how many messages of one kind wait for their handler. All of them
// carry absolute values, so what is dropped heals with the next.
const ringSize = 1024

// relayQueue is how many messages of others wait to be passed on.
const relayQueue = 1024

// inlet is where the messages of one kind arrive.
type inlet struct {
	kind    Kind
	ring    chan arrival
	receive func(from string, inc uint32, seq uint64, body []byte)
	local   func() []byte
	merge   func(from string, body []byte)
}

// arrival is one message, or one section of an exchange.
type arrival struct {
	from     string
	inc      uint32
	seq      uint64
	body     []byte
	exchange bool
}

// windowKey names the window of one sender and kind.
type windowKey struct {
	short uint32
	kind  Kind
}

// maxWindows bounds what senders may make this node remember. Only holders of
// the gossip key can send at all.
const maxWindows = 8192

// messages is the traffic of a pool: what is sent and what arrives.
type messages struct {
	inlets map[Kind]*inlet // fixed when Run begins
	relay  memberlist.TransmitLimitedQueue
	seqs   [256]atomic.Uint64 // by kind

	mu      sync.Mutex // guards windows
	windows map[windowKey]*window
}

// Receive has handle called for each message of a kind, on a goroutine of the
// kind's own. The body may be kept. Messages come in any order, each once.
// Register before Run.
func (p *Pool) Receive(kind Kind, handle func(from string, inc uint32, seq uint64, body []byte)) {
	p.inlet(kind).receive = handle
}

// Exchange adds a section to the exchanges of states, which every node has with
// some other each half minute and when it comes. local gives what this node
// holds, merge takes what another does, on the goroutine of the kind's messages.
// Register before Run.
func (p *Pool) Exchange(kind Kind, local func() []byte, merge func(from string, body []byte)) {
	in := p.inlet(kind)
	in.local, in.merge = local, merge
}

func (p *Pool) inlet(kind Kind) *inlet {
	in, known := p.inlets[kind]
	if !known {
		in = &inlet{kind: kind, ring: make(chan arrival, ringSize)}
		p.inlets[kind] = in
	}
	return in
}

// frameOf makes the next message of a kind.
func (p *Pool) frameOf(kind Kind, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("gossip %s message of %d bytes: at most %d fit into a packet", kind, len(body), MaxBody)
	}
	f := frame{kind: kind, short: shortID(p.self), inc: uint32(p.incarnation), seq: p.seqs[kind].Add(1), body: body}
	return f.encode(), nil
}

// Send gives a message to one node, at best.
func (p *Pool) Send(kind Kind, to string, body []byte) error {
	ml := p.list.Load()
	node := p.table.current.Load().nodes[to]
	if ml == nil || node == nil {
		return fmt.Errorf("send %s to %s: %w", kind, to, ErrNotAlive)
	}
	raw, err := p.frameOf(kind, body)
	if err != nil {
		return err
	}
	return p.direct(ml, node, kind, raw)
}

// Fanout gives a message to each node that is alive, at best. It returns the
// first error; the others are sent to all the same.
func (p *Pool) Fanout(kind Kind, body []byte) error {
	raw, err := p.frameOf(kind, body)
	if err != nil {
		return err
	}
	return p.toAll(kind, raw)
}

// Relay spreads an event: directly to all, and those who hear it pass it on, so
// that it reaches also whom a lost packet or a broken path kept it from.
func (p *Pool) Relay(kind Kind, body []byte) error {
	if !kind.Relayed() {
		return fmt.Errorf("gossip messages of kind %s are not relayed", kind)
	}
	raw, err := p.frameOf(kind, body)
	if err != nil {
		return err
	}
	p.passOn(raw)
	return p.toAll(kind, raw)
}

func (p *Pool) toAll(kind Kind, raw []byte) error {
	ml := p.list.Load()
	if ml == nil {
		return nil
	}
	var first error
	for _, node := range p.table.current.Load().alive {
		if err := p.direct(ml, node, kind, raw); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (p *Pool) direct(ml *memberlist.Memberlist, node *memberlist.Node, kind Kind, raw []byte) error {
	if err := ml.SendBestEffort(node, raw); err != nil {
		p.metrics.message(kind, "unsent")
		return fmt.Errorf("send %s to %s: %w", kind, node.Name, err)
	}
	p.metrics.message(kind, "sent")
	return nil
}

// relayed is a message in memberlist's queue of what to pass on.
type relayed []byte

// Invalidates is never asked: each message is unique.
func (relayed) Invalidates(memberlist.Broadcast) bool { return false }

// Message is the frame.
func (r relayed) Message() []byte { return r }

// Finished needs nothing.
func (relayed) Finished() {}

// UniqueBroadcast spares the search for what this one replaces.
func (relayed) UniqueBroadcast() {}

var _ memberlist.UniqueBroadcast = relayed(nil)

func (p *Pool) passOn(raw []byte) {
	p.relay.QueueBroadcast(relayed(raw))
	if p.relay.NumQueued() > relayQueue {
		p.relay.Prune(relayQueue)
	}
}

// arrive takes a message from memberlist. It must not block, and b is reused
// when it returns.
func (p *Pool) arrive(b []byte) {
	f, err := decodeFrame(b)
	if err != nil {
		p.metrics.refused("malformed")
		return
	}
	if f.short == shortID(p.self) {
		return // an echo, or one whose short id is ours: then nobody can be told apart
	}
	v := p.table.current.Load()
	if v.silence[f.short] {
		p.metrics.refused("not_member")
		return
	}
	if !p.fresh(f) {
		p.metrics.message(f.kind, "repeated")
		return
	}
	raw := slices.Clone(b)
	if f.kind.Relayed() {
		p.passOn(raw)
	}
	from := v.shorts[f.short]
	if from == "" {
		p.metrics.message(f.kind, "unknown_sender")
		return
	}
	p.metrics.message(f.kind, "received")
	switch f.kind {
	case KindStatus:
		if s, err := decodeStatus(f.body); err == nil {
			p.table.status(from, f.inc, f.seq, s, p.clock.Now(), true)
		} else {
			p.metrics.refused("malformed")
		}
		return
	case KindLeaving:
		p.table.left(from, f.inc)
		return
	}
	if in, known := p.inlets[f.kind]; known && in.receive != nil {
		p.hand(in, arrival{from: from, inc: f.inc, seq: f.seq, body: raw[frameHeader:]})
	}
}

func (p *Pool) hand(in *inlet, a arrival) {
	select {
	case in.ring <- a:
	default:
		p.metrics.message(in.kind, "dropped")
	}
}

// fresh tells whether a message is the first of its number.
func (p *Pool) fresh(f frame) bool {
	p.messages.mu.Lock()
	defer p.messages.mu.Unlock()
	key := windowKey{f.short, f.kind}
	w, known := p.windows[key]
	if !known {
		if len(p.windows) >= maxWindows {
			return false
		}
		w = &window{}
		p.windows[key] = w
	}
	return w.accept(f.inc, f.seq)
}

// serve runs the handlers of one kind until the context ends.
func (in *inlet) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-in.ring:
			if a.exchange {
				in.merge(a.from, a.body)
			} else {
				in.receive(a.from, a.inc, a.seq, a.body)
			}
		}
	}
}

// localState is what this node brings to an exchange of states.
func (p *Pool) localState() []byte {
	sections := []section{{KindStatus, encodeStatuses(p.table.statuses())}}
	for _, in := range p.inlets {
		if in.local != nil {
			sections = append(sections, section{in.kind, in.local()})
		}
	}
	b, err := encodeExchange(p.self, sections)
	if err != nil { // New has checked the id
		return nil
	}
	return b
}

// mergeState takes what another node brings.
func (p *Pool) mergeState(b []byte) {
	from, sections, err := decodeExchange(b)
	if err != nil {
		p.metrics.refused("malformed")
		p.log.Debug("exchange of states refused", "error", err)
		return
	}
	if p.table.current.Load().barred[from] {
		p.metrics.refused("not_member")
		return
	}
	for _, s := range sections {
		if s.kind == KindStatus {
			p.mergeStatuses(s.body)
			continue
		}
		if in, known := p.inlets[s.kind]; known && in.merge != nil {
			p.hand(in, arrival{from: from, body: slices.Clone(s.body), exchange: true})
		}
	}
}

func (p *Pool) mergeStatuses(b []byte) {
	list, err := decodeStatuses(b)
	if err != nil {
		p.metrics.refused("malformed")
		return
	}
	now := p.clock.Now()
	for _, k := range list {
		if k.id != p.self {
			p.table.status(k.id, k.inc, k.seq, k.status, now.Add(-k.age), false)
		}
	}
}
