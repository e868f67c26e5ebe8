// Package command is the envelope of everything that goes through the raft log:
// what kind of command, in which version of its payload, stamped with the
// leader's time. It knows nothing of what the payloads mean.
package command

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Type says which state machine a command is for. With Skippable set, a node
// that does not know the type passes over it; without, the node must stop,
// because its state would drift from the others'.
type Type byte

// Skippable is the bit that allows an older node to pass over a command.
const Skippable Type = 0x80

// The types. They stand in logs and snapshots and are never reused.
const (
	// Mutation changes replicated entities (JSON of model.Mutation).
	Mutation Type = 1
	// BudgetBatch is one node's cumulative spending and wishes of one tick, in
	// the bank's own layout.
	BudgetBatch Type = 2
	// DataKey brings the cluster's wrapped data key.
	DataKey Type = 3
	// Membership changes who belongs to the cluster.
	Membership Type = 4
	// Claims says which model calls answer for their callers' keys, in a layout of
	// its own.
	Claims Type = 5
)

// Skippable reports whether a node that does not know the type may pass over it.
func (t Type) Skippable() bool { return t&Skippable != 0 }

// String names the type for logs.
func (t Type) String() string {
	switch t {
	case Mutation:
		return "mutation"
	case BudgetBatch:
		return "budget_batch"
	case DataKey:
		return "data_key"
	case Membership:
		return "membership"
	case Claims:
		return "claims"
	}
	return fmt.Sprintf("type_%d", byte(t))
}

// Command is one decoded envelope.
type Command struct {
	Type    Type
	Version byte      // of the payload
	At      time.Time // stamped by the leader that proposed it
	Payload []byte
}

// headSize is type, version and eight bytes of time.
const headSize = 1 + 1 + 8

// ErrShort is returned for bytes that cannot be an envelope.
var ErrShort = errors.New("command is shorter than its envelope")

// Append writes the envelope and its payload after dst.
func (c *Command) Append(dst []byte) []byte {
	dst = append(dst, byte(c.Type), c.Version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.At.UnixNano()))
	return append(dst, c.Payload...)
}

// Encode is the envelope and its payload in one new slice.
func (c *Command) Encode() []byte {
	return c.Append(make([]byte, 0, headSize+len(c.Payload)))
}

// Decode reads an envelope. The payload aliases data.
func Decode(data []byte) (Command, error) {
	if len(data) < headSize {
		return Command{}, fmt.Errorf("%w: %d bytes", ErrShort, len(data))
	}
	return Command{
		Type:    Type(data[0]),
		Version: data[1],
		At:      time.Unix(0, int64(binary.BigEndian.Uint64(data[2:headSize]))).UTC(),
		Payload: data[headSize:],
	}, nil
}
