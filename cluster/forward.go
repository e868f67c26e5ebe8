package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"tollgate/cluster/command"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/model"
	"tollgate/config/state"
)

// The calls that nodes answer for each other.
const (
	callSubmit   = "cluster.submit"
	callIndex    = "cluster.index"
	callConcern  = "cluster.concern"
	callApplied  = "cluster.applied"
	callTransfer = "cluster.transfer"
)

// forwardForm is the form of a forwarded command and of its answer.
const forwardForm = 1

var errForwardForm = errors.New("form is not known to this release")

// answerPeers registers what other nodes may ask.
func (n *Node) answerPeers(r peer.Registrar) {
	for method, h := range map[string]peer.Handler{
		callSubmit: n.serveSubmit, callIndex: n.serveIndex, callConcern: n.serveConcern,
		callApplied: n.serveApplied, callTransfer: n.serveTransfer,
	} {
		r.Handle(method, func(ctx context.Context, from string, request []byte) ([]byte, error) {
			if !n.begin() {
				return nil, toWire(ErrClosed)
			}
			defer n.work.Done()
			answer, err := h(ctx, from, request)
			if err != nil {
				return nil, toWire(err)
			}
			return answer, nil
		})
	}
}

// forward sends a command to the leader. Whoever gets it proposes it or refuses
// it, and never passes it on: two nodes that each take the other for the leader
// would play ball with it.
func (n *Node) forward(ctx context.Context, leader string, t command.Type, version byte, payload []byte) (any, uint64, error) {
	if len(payload) > maxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(payload), maxCommand)
	}
	reply, err := n.cfg.Calls.Call(ctx, leader, callSubmit, encodeSubmission(t, version, payload))
	if err != nil {
		return nil, 0, fromWire(leader, err)
	}
	return n.openReply(t, reply)
}

func encodeSubmission(t command.Type, version byte, payload []byte) []byte {
	return append(append(make([]byte, 0, 3+len(payload)), forwardForm, byte(t), version), payload...)
}

func decodeSubmission(data []byte) (t command.Type, version byte, payload []byte, err error) {
	switch {
	case len(data) < 3:
		return 0, 0, nil, fmt.Errorf("read forwarded command: %w", command.ErrShort)
	case data[0] != forwardForm:
		return 0, 0, nil, fmt.Errorf("read forwarded command: %w", errForwardForm)
	}
	return command.Type(data[1]), data[2], data[3:], nil
}

// serveSubmit proposes what another node sends, if this one leads.
func (n *Node) serveSubmit(ctx context.Context, from string, request []byte) ([]byte, error) {
	t, version, payload, err := decodeSubmission(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	codec, ok := n.answers[t]
	if !ok {
		return nil, fmt.Errorf("%w: commands of %s are not forwarded", ErrRejected, t)
	}
	if codec.Check != nil {
		if err := codec.Check(from, version, payload); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRejected, err)
		}
	}
	answer, index, err := n.propose(ctx, t, version, payload)
	if err != nil {
		return nil, err
	}
	return sealReply(codec, answer, index), nil
}

// What a reply carries: the answer, or the text of an answer that is an error.
const (
	replyAnswer byte = 0
	replyError  byte = 1
)

const replyHead = 1 + 1 + 8

func sealReply(codec AnswerCodec, answer any, index uint64) []byte {
	kind, body := replyAnswer, []byte(nil)
	if err, ok := answer.(error); ok {
		kind, body = replyError, []byte(err.Error())
	} else if b, err := codec.Encode(answer); err == nil {
		body = b
	} else {
		kind, body = replyError, []byte(err.Error()) // it was applied all the same
	}
	head := binary.BigEndian.AppendUint64(append(make([]byte, 0, replyHead+len(body)), forwardForm, kind), index)
	return append(head, body...)
}

// openReply reads a leader's reply. What it cannot read happened nevertheless.
func (n *Node) openReply(t command.Type, reply []byte) (any, uint64, error) {
	if len(reply) < replyHead || reply[0] != forwardForm || reply[1] > replyError {
		return nil, 0, fmt.Errorf("%w: read the leader's reply: %w", ErrOutcomeUnknown, errForwardForm)
	}
	index, body := binary.BigEndian.Uint64(reply[2:]), reply[replyHead:]
	if reply[1] == replyError {
		return &remoteError{t, string(body)}, index, nil
	}
	answer, err := n.answers[t].Decode(body)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read the leader's reply: %w", ErrOutcomeUnknown, err)
	}
	return answer, index, nil
}

// remoteError is an applier's answer that is an error, as the leader told it.
type remoteError struct {
	t    command.Type
	text string
}

// Error is the leader's text.
func (e *remoteError) Error() string { return e.text }

// Is keeps what the only error that appliers answer with proves.
func (e *remoteError) Is(target error) bool {
	return e.t == command.Mutation && target == state.ErrMutation
}

// answers are the codecs given and those of the node's own commands.
func answers(given map[command.Type]AnswerCodec) map[command.Type]AnswerCodec {
	all := map[command.Type]AnswerCodec{
		command.Mutation:   {Encode: json.Marshal, Decode: decode[model.Result], Check: checkMutation, Repeatable: true},
		command.Membership: {Encode: json.Marshal, Decode: decode[members.Result], Check: checkMembership, Repeatable: true},
		command.DataKey:    {Encode: json.Marshal, Decode: decode[bool], Check: checkDataKeys}, // it replaces one exact set: repeating it tells nothing
	}
	maps.Copy(all, given)
	return all
}

func decode[T any](data []byte) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// checkMutation looks at a forwarded mutation as if it had been made here: the
// node that sent it may be of another release. One without an id could not be
// repeated.
func checkMutation(_ string, version byte, payload []byte) error {
	if version != state.MutationVersion {
		return fmt.Errorf("mutation version %d is not the one that this release proposes", version)
	}
	var m model.Mutation
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("read mutation: %w", err)
	}
	if m.ID == "" {
		return errors.New("the mutation has no id")
	}
	return state.Check(&m)
}

// checkDataKeys refuses a form that this release cannot read: in the log it would
// stop every node of this release.
func checkDataKeys(_ string, version byte, payload []byte) error {
	if version != dataKeyVersion {
		return fmt.Errorf("data key version %d is not the one that this release proposes", version)
	}
	var set dataKeySet
	if err := json.Unmarshal(payload, &set); err != nil {
		return fmt.Errorf("read data keys: %w", err)
	}
	if len(set.Wrapped) == 0 {
		return errors.New("the set has no data key in it")
	}
	return nil
}

// checkMembership refuses what would stop nodes: an operation that this release
// does not know, in a command that all must apply.
func checkMembership(_ string, version byte, payload []byte) error {
	if version != members.Version {
		return fmt.Errorf("membership version %d is not the one that this release proposes", version)
	}
	c, err := members.Decode(payload)
	if err != nil {
		return err
	}
	if c.Op.Known() {
		return nil
	}
	return fmt.Errorf("membership operation %q is not known to this release", c.Op)
}
