package once

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
	"unique"
)

const (
	// HoldsFor is how long a key stands for its call.
	HoldsFor = 24 * time.Hour
	// maxClaims bounds the memory that claims take on every node, about 150 MB.
	// All nodes must agree on it: it is part of the state machine.
	maxClaims = 1 << 20
	shards    = 64
)

// owner is a start of a node; few stand for all claims.
type owner struct {
	node        string
	incarnation uint64
}

// claim is what the cluster remembers of one key.
type claim struct {
	body  Sum
	call  CallID
	at    int64 // nanoseconds, of the state's clock
	owner unique.Handle[owner]
}

func (c *claim) told() Claim {
	o := c.owner.Value()
	return Claim{Node: o.node, Incarnation: o.incarnation, Call: c.call, At: time.Unix(0, c.at).UTC()}
}

// shard is a part of the claims. A snapshot shares its map, and the next write
// copies it first.
type shard struct {
	m      map[ID]claim
	shared bool
}

// due is when a claim ends, or ended if it was released and made again.
type due struct {
	at int64
	id ID
}

// Claims is the replicated part: which call answers for which key. It follows
// from its commands alone. Apply, Snapshot and Restore's swap belong to the
// goroutine that applies; Len may be asked by any.
type Claims struct {
	mu    sync.Mutex // guards all below, for Len and the gauge of it
	now   int64
	most  int
	count int
	shard [shards]shard
	queue []due // in the order of time: claims end in the order in which they were made
}

// NewClaims is the state before the first command.
func NewClaims() *Claims { return newClaims(maxClaims) }

func newClaims(most int) *Claims {
	c := &Claims{most: most}
	for i := range c.shard {
		c.shard[i].m = map[ID]claim{}
	}
	return c
}

// Len is how many keys are claimed.
func (c *Claims) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// which reports for each operation whether its key is claimed at a moment.
func (c *Claims) which(now time.Time, ops []Op) []bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = max(c.now, now.UnixNano())
	c.expire()
	out := make([]bool, len(ops))
	for i := range ops {
		_, out[i] = c.shardOf(ops[i].ID).m[ops[i].ID]
	}
	return out
}

// Apply applies one command; the answer is an *Answer, or an error that stops the
// node where a newer release would have gone on.
func (c *Claims) Apply(_ uint64, at time.Time, version byte, payload []byte) any {
	if version != Version {
		return &unreadable{fmt.Sprintf("claims version %d", version)}
	}
	cmd, err := DecodeCommand(payload)
	if err != nil {
		return &Answer{Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = max(c.now, at.UnixNano())
	c.expire()
	by := unique.Make(owner{cmd.Node, cmd.Incarnation})
	a := &Answer{Told: make([]Told, len(cmd.Ops))}
	for i := range cmd.Ops {
		a.Told[i] = c.do(&cmd.Ops[i], by)
	}
	return a
}

func (c *Claims) do(o *Op, by unique.Handle[owner]) Told {
	have, held := c.shardOf(o.ID).m[o.ID]
	switch {
	case o.Kind == Release:
		if held && have.call == o.Call {
			delete(c.own(o.ID).m, o.ID)
			c.count--
		}
		return Told{Verdict: Released}
	case held && have.call == o.Call: // said before: the proposer has not heard of it
		return Told{Verdict: Yours}
	case held && have.call != o.Instead:
		if have.body != o.Body {
			return Told{Verdict: OtherBody, Claim: have.told()}
		}
		return Told{Verdict: Held, Claim: have.told()}
	case !held && c.count >= c.most:
		return Told{Verdict: Full}
	case !held:
		c.count++
	}
	c.own(o.ID).m[o.ID] = claim{body: o.Body, call: o.Call, at: c.now, owner: by}
	c.queue = append(c.queue, due{c.now, o.ID})
	return Told{Verdict: Yours}
}

// expire ends what is older than a key holds.
func (c *Claims) expire() {
	before := c.now - int64(HoldsFor)
	n := 0
	for ; n < len(c.queue) && c.queue[n].at <= before; n++ {
		id := c.queue[n].id
		if have, ok := c.shardOf(id).m[id]; ok && have.at <= before {
			delete(c.own(id).m, id)
			c.count--
		}
	}
	c.queue = c.queue[n:]
	if len(c.queue) < 2*c.count+1024 {
		return
	}
	// Keys that are released and claimed over and over leave marks behind.
	c.queue = slices.DeleteFunc(slices.Clone(c.queue), func(d due) bool {
		have, ok := c.shardOf(d.id).m[d.id]
		return !ok || have.at != d.at
	})
}

func (c *Claims) shardOf(id ID) *shard { return &c.shard[id[0]%shards] }

// own is the shard of an id, its map not shared with a snapshot any more.
func (c *Claims) own(id ID) *shard {
	s := c.shardOf(id)
	if s.shared {
		m := make(map[ID]claim, len(s.m)+1)
		for k, v := range s.m {
			m[k] = v
		}
		s.m, s.shared = m, false
	}
	return s
}

// unreadable is the answer to a command of a newer release: passing over it would
// let this node's state drift from the others'.
type unreadable struct{ reason string }

// Error says what was not understood.
func (u *unreadable) Error() string { return "command of a newer release: " + u.reason }

// StopsNode marks the error as one that must end the node.
func (u *unreadable) StopsNode() {}

// Kinds of snapshot records.
const (
	recordClock byte = 'c'
	recordClaim byte = 'k'
)

// Snapshot captures the claims in the time of a few pointer copies; the records
// are walked while Apply goes on. Equal claims give equal bytes.
func (c *Claims) Snapshot() iter.Seq2[byte, []byte] {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now
	if now == 0 { // a release that does not know claims can read a snapshot without any
		return func(func(byte, []byte) bool) {}
	}
	var held [shards]map[ID]claim
	for i := range c.shard {
		c.shard[i].shared = true
		held[i] = c.shard[i].m
	}
	return func(yield func(byte, []byte) bool) {
		if !yield(recordClock, binary.AppendVarint([]byte{Version}, now)) {
			return
		}
		for _, m := range held {
			ids := make([]ID, 0, len(m))
			for id := range m {
				ids = append(ids, id)
			}
			slices.SortFunc(ids, func(a, b ID) int {
				return cmp.Or(cmp.Compare(m[a].at, m[b].at), slices.Compare(a[:], b[:]))
			})
			for _, id := range ids {
				k := m[id]
				if !yield(recordClaim, appendClaim([]byte{Version}, id, &k)) {
					return
				}
			}
		}
	}
}

// Restore reads the records of Snapshot into new claims beside the present ones;
// the returned function swaps them.
func (c *Claims) Restore(records iter.Seq2[byte, []byte]) (swap func(), err error) {
	fresh := newClaims(c.most)
	for kind, data := range records {
		if err := fresh.take(kind, data); err != nil {
			return nil, fmt.Errorf("restore claims, record %q: %w", kind, err)
		}
	}
	slices.SortFunc(fresh.queue, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.id[:], b.id[:]))
	})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now, c.count, c.shard, c.queue = fresh.now, fresh.count, fresh.shard, fresh.queue
	}, nil
}

func (c *Claims) take(kind byte, data []byte) error {
	r := newReader(data)
	if v := r.Byte(); v != Version {
		return fmt.Errorf("version %d is not known to this release", v)
	}
	switch kind {
	case recordClock:
		c.now = r.Int()
	case recordClaim:
		id, k := r.claim()
		if r.Err() == nil {
			if _, twice := c.shardOf(id).m[id]; twice {
				return fmt.Errorf("a key is claimed twice")
			}
			c.shardOf(id).m[id] = k
			c.queue = append(c.queue, due{k.at, id})
			c.count++
		}
	default:
		return fmt.Errorf("unknown kind")
	}
	return r.End()
}
