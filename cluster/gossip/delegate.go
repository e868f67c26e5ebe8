package gossip

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. It holds its own lock meanwhile, so none
// of this blocks or calls back.
type delegate struct{ p *Pool }

// NodeMeta is this node's facts.
func (d delegate) NodeMeta(int) []byte { return *d.p.metaBytes.Load() }

// NotifyMsg takes a message of ours.
func (d delegate) NotifyMsg(b []byte) { d.p.arrive(b) }

// GetBroadcasts is what to pass on.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.p.relay.GetBroadcasts(overhead, limit)
}

// LocalState is this node's side of an exchange of states.
func (d delegate) LocalState(bool) []byte { return d.p.localState() }

// MergeRemoteState takes the other side.
func (d delegate) MergeRemoteState(b []byte, _ bool) { d.p.mergeState(b) }

// NotifyAlive refuses a node that was taken out of the cluster, and one whose
// facts cannot be read or are another's.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if d.p.table.current.Load().barred[n.Name] {
		return fmt.Errorf("node %s is no member any more", n.Name)
	}
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	if m.NodeID != n.Name {
		return fmt.Errorf("node %s says that it is %s", n.Name, m.NodeID)
	}
	return nil
}

// NotifyJoin takes in a node that is alive.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.up(n) }

// NotifyUpdate takes in changed facts.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.up(n) }

func (d delegate) up(n *memberlist.Node) {
	if n.Name == d.p.self {
		return
	}
	m, err := decodeMeta(n.Meta)
	if err != nil { // NotifyAlive has read it
		return
	}
	d.p.table.up(n, m)
}

// NotifyLeave takes in that a node is gone.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.p.table.down(n.Name) }

// AckPayload adds nothing to an answered probe.
func (d delegate) AckPayload() []byte { return nil }

// NotifyPingComplete takes in how long a probe took.
func (d delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	d.p.table.rtt(n.Name, rtt)
}

// NotifyConflict takes in that a node id is claimed from a second address.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	m, known := d.p.Lookup(existing.Name)
	if !known || m.State != Alive {
		return // its old address has not been given up yet, and that is all
	}
	var otherInc uint64
	if meta, err := decodeMeta(other.Meta); err == nil {
		otherInc = meta.Incarnation
	}
	d.p.conflicts.seen(existing.Name, m.Incarnation, hostPort(existing), otherInc, hostPort(other))
}

func hostPort(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.PingDelegate     = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
)
