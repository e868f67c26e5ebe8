package rate

import (
	"context"
	"time"
)

// Peers is the way to the other nodes. What one node sends with Ask or Counts
// another gets in ServeAsk or HearCounts.
type Peers interface {
	// View is who is there. It is replaced, never changed.
	View() *View
	// Ask calls another node and waits for its answer or the end of ctx.
	Ask(ctx context.Context, node string, payload []byte) ([]byte, error)
	// Counts sends a message that may be lost, late or out of order. It must not
	// block and may keep the payload.
	Counts(to string, payload []byte)
}

// View is the members of the cluster as this node sees them now.
type View struct {
	Self string
	// Members are all in the committed member list that admit requests, this
	// node too; those who only vote are left out.
	Members []Member
}

// Member is one of them.
type Member struct {
	ID          string
	Region      string
	Zone        string
	Incarnation uint64 // 1 at the first start of a node's life
	Alive       bool   // as gossip has it
	Draining    bool
	// Since is when the member list got it, by the local clock. Zero: long ago.
	Since time.Time
}

const (
	// askWithin is after how long without an answer a node's owner counts as lost.
	askWithin = 500 * time.Millisecond
	// waitMost is how long a request waits for credit of a node that does not
	// answer, and waitSlow for one that is there and slow.
	waitMost = time.Second
	waitSlow = 4 * time.Second
	// coalesce is how long an ask waits for company while another is under way.
	coalesce = 500 * time.Microsecond
	// creditLife is how long granted units may be used, counted from when they
	// were asked for: one slot. The ring has a slot more than the window for it.
	creditLife = slotTime
	// ahead is the demand that a node likes to hold credit for.
	ahead = 250 * time.Millisecond
	// refusalLife bounds how long an owner's no is taken for granted.
	refusalLife = 100 * time.Millisecond
	// eagerness is how often the first refusal after a grant halves that.
	eagerness = 4
	// memory is how long a grant can still count in somebody's ring.
	memory = slots*slotTime + slotTime
	// pause is a silence of this node's own ticking after which it must ask
	// whether it was stood in for meanwhile.
	pause = time.Second
	// leaseLife is how long parallel slots stay with a node that does not renew.
	leaseLife = 10 * time.Second
	// leaseRenew is how often it does.
	leaseRenew = 3 * time.Second
)
