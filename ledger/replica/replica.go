// Package replica keeps one copy of each node's ledger on another node, and does
// what is to be done with it when the node is lost: it brings the rest to the
// database, books the calls that were in flight, and answers questions about
// spend in the lost node's place. It decides nothing about budgets: those were
// written off when the node was taken out. It never makes a call wait, unless
// the settings ask for that, and then for a second at most.
package replica

import (
	"context"
	"errors"

	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// Method is the one under which nodes speak about copies.
const Method = "ledger.copy"

// Call calls another node's Method.
type Call func(ctx context.Context, node string, payload []byte) ([]byte, error)

// Mode says how a ledger is copied.
type Mode string

// The modes: a settled call waits for nobody, or until the copy has it, or
// there is no copy.
const (
	Async Mode = "async"
	Sync  Mode = "sync"
	Off   Mode = "off"
)

// Member is a node as the choice of a peer needs it. Witnesses are none.
type Member struct {
	ID, Region, Zone string
	Alive            bool
	// Outside: it stands where data of some calls of this node may not be.
	Outside bool
}

// View is who there is: the members that the cluster has agreed on, this node
// among them.
type View struct {
	Self    string
	Members []Member
}

// Permit says what of an entry may be copied to a node.
type Permit uint8

// The permits. Bare is without what the client has sent or was told; with
// Nothing the entry's row is lost if the node is.
const (
	Whole Permit = iota
	Bare
	Nothing
)

// Books is a database that lost nodes' calls are booked in.
type Books interface {
	reader.Positioned
	// TakeOver books calls that were in flight, unless more than at stands there.
	TakeOver(ctx context.Context, at uint64, calls []*store.Entry) (done bool, err error)
}

var (
	// ErrNoPeer says that there is no node to copy to.
	ErrNoPeer = errors.New("no other node is there to keep a copy")
	// ErrNotKept says that no copy of a ledger is here.
	ErrNotKept = errors.New("no copy of this ledger is here")
)
