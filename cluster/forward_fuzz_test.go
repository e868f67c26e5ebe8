package cluster

import (
	"bytes"
	"errors"
	"testing"

	"tollgate/cluster/command"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/state"
)

func FuzzForwardedCommandIsReadAsItWasWritten(f *testing.F) {
	f.Add(encodeSubmission(command.Mutation, 1, []byte(`{"id":"x"}`)))
	f.Add([]byte{forwardForm})
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, version, payload, err := decodeSubmission(data)
		if err != nil {
			return
		}
		if again := encodeSubmission(kind, version, payload); !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
		// Whatever another node sends is judged without harm.
		for _, c := range answers(nil) {
			if c.Check != nil {
				_ = c.Check("node", version, payload)
			}
		}
	})
}

func FuzzLeadersReplyProvesNoMoreThanItSays(f *testing.F) {
	n := &Node{answers: answers(nil)}
	good := sealReply(n.answers[command.Mutation], model.Result{Index: 7}, 7)
	f.Add(byte(command.Mutation), good)
	refused := sealReply(n.answers[command.Membership], members.Result{Refused: members.CodeExists}, 9)
	f.Add(byte(command.Membership), refused)
	failed := sealReply(n.answers[command.Mutation], state.ErrMutation, 8)
	f.Add(byte(command.Mutation), failed)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		c := command.Type(kind)
		if _, ok := n.answers[c]; !ok {
			return
		}
		answer, index, err := n.openReply(c, data)
		switch {
		case err != nil:
			if !errors.Is(err, ErrOutcomeUnknown) || index != 0 {
				t.Fatalf("a reply that cannot be read proves nothing: %v", err)
			}
		case answer == nil:
			t.Fatal("a reply without an answer")
		}
	})
}

func TestAnswersCrossTheWireAsTheyAre(t *testing.T) {
	n := &Node{answers: answers(nil)}
	for _, c := range []struct {
		t      command.Type
		answer any
	}{
		{command.Mutation, model.Result{Index: 3}},
		{command.Membership, members.Result{Index: 3, Refused: members.CodeExists, Message: "taken"}},
		{command.DataKey, true},
	} {
		reply := sealReply(n.answers[c.t], c.answer, 12)
		got, index, err := n.openReply(c.t, reply)
		if err != nil || index != 12 || got != c.answer {
			t.Fatalf("%v: %v %d %v", c.answer, got, index, err)
		}
	}
	reply := sealReply(n.answers[command.Mutation], state.ErrMutation, 12)
	got, _, err := n.openReply(command.Mutation, reply)
	if err != nil || !errors.Is(got.(error), state.ErrMutation) {
		t.Fatalf("%v %v", got, err)
	}
}
