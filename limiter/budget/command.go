package budget

import (
	"tollgate/config/model"
	"tollgate/config/unit"
)

// Version of the payloads and records written by this code.
const Version = 1

// Op is what a command does to the bank.
type Op uint8

// The commands. Their numbers are on disk in raft logs: never reuse one.
const (
	OpBatch    Op = iota + 1 // one node's reports and asks
	OpRegister               // a node has started
	OpClose                  // the final sums of a node's earlier starts
	OpForget                 // a node is gone for good: what it held is written off
	OpLeave                  // a node has gone in order, its books closed
	OpOpen                   // open the current window of budgets just made
	OpDrop                   // budgets that no longer exist
)

// CurrentWindow asks for whatever window is open, by a node that has none yet.
const CurrentWindow int64 = -1

// Item is one budget in a Batch. S and R are totals of the named window since
// this start of the node began; Want is a total too, so a repeated item asks
// for nothing new.
type Item struct {
	Scope  model.Scope
	Window int64
	S, R   unit.Money
	Want   unit.Money // the G wished for
	Need   unit.Money // of that, what waiting calls are short of
	Least  unit.Money // less than this would help none of them
	Call   unit.Money // the most a single call was seen to cost
	Exact  bool       // grant no more than Need
}

// Settled is the final sum of one start in one window.
type Settled struct {
	Incarnation uint64
	Scope       model.Scope
	Window      int64
	S           unit.Money
}

// Command is the payload of one raft entry for the bank.
type Command struct {
	Op          Op
	Node        NodeID
	Incarnation uint64 // Batch, Register: the start; Close, Forget: starts below it

	Items []Item // Batch

	Settled  []Settled // Close
	WriteOff bool      // Close: charge all credit held (the machine lost power)
	Final    bool      // Close: whatever is not listed is as reported

	Scopes []model.Scope // Open, Drop
}

// Grant answers one Item.
type Grant struct {
	Scope   model.Scope
	Window  int64 // the open one, which may be newer than the item's
	End     int64
	G       unit.Money // granted in Window to this start, in total
	Settled unit.Money // by all nodes in Window
	Free    unit.Money // left in the bank
	Share   unit.Money
	Nodes   int
	Tight   bool
	Closed  bool // this start's books are closed: it may spend no more
	Unknown bool // no such budget
}

// Answer is what applying a Command gave. Err is set when the payload could
// not be read; nothing was changed then.
type Answer struct {
	Grants []Grant
	Err    error
}
