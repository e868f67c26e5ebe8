package run

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/peer"
	"tollgate/ledger/once"
)

// claimAnswers carry the answers to claims from the leader. A claim names its
// call, so that one which is applied twice does what one does; and the desk needs
// the answer, not this node's own state.
var claimAnswers = cluster.AnswerCodec{
	Encode: func(answer any) ([]byte, error) {
		a, ok := answer.(*once.Answer)
		if !ok {
			return nil, fmt.Errorf("%w, but %T", errNoClaim, answer)
		}
		return once.AppendAnswer(nil, a), nil
	},
	Decode: func(data []byte) (any, error) { return once.DecodeAnswer(data) },
	// A node speaks for its own calls alone.
	Check: func(from string, version byte, payload []byte) error {
		if version != once.Version {
			return fmt.Errorf("claims of version %d are not those that this release proposes", version)
		}
		c, err := once.DecodeCommand(payload)
		switch {
		case err != nil:
			return err
		case c.Node != from:
			return errors.New("a node may claim keys only for its own calls")
		}
		return nil
	},
	Repeatable: true,
	Ahead:      true,
}

var errNoClaim = errors.New("the claims gave no answer")

// openAnswers makes what keeps calls with an Idempotency-Key from being made
// twice. It comes after the copies: answers of lost nodes lie there.
func (n *node) openAnswers(background context.Context, group *errgroup.Group) {
	d := once.NewDesk(once.Config{
		Node: n.identity.NodeID, Incarnation: n.identity.Incarnation, LostPower: n.identity.Rebooted || n.ledger.MachineRestarted(),
		Propose: n.proposeClaims, Agreed: func() bool { return n.cluster.Feature() >= cluster.FeatureClaims }, Ledger: n.ledger, Clock: n.clock, Logger: n.log,
		Ask: func(ctx context.Context, to string, payload []byte) ([]byte, error) {
			return n.port.Call(ctx, to, once.Method, payload)
		},
		May: n.toldTo,
		Copies: func(ctx context.Context, holder string, call once.CallID) (string, []byte, bool) {
			found := n.copies.directory.FindAnswer(ctx, holder, call)
			if found == nil {
				return "", nil, false
			}
			return found.Status, found.Answer, true
		},
	})
	n.answers = d
	n.metrics.MustRegister(once.Collector(d, n.claims))
	group.Go(func() error { return d.Run(background) })
	n.asked.Store(d)
}

// hearAnswers joins the desk to the port before that serves.
func (n *node) hearAnswers() {
	n.port.Handle(once.Method, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
		d := n.asked.Load()
		if d == nil {
			return nil, errStarting
		}
		answer, err := d.Serve(ctx, from, payload)
		if err != nil {
			return nil, &peer.Error{Code: "bad_request", Message: err.Error()}
		}
		return answer, nil
	})
}

func (n *node) proposeClaims(ctx context.Context, payload []byte) (*once.Answer, error) {
	answer, _, err := n.cluster.Submit(ctx, command.Claims, once.Version, payload)
	if err != nil {
		return nil, fmt.Errorf("agree on claims: %w", err)
	}
	a, ok := answer.(*once.Answer)
	if !ok {
		return nil, errNoClaim
	}
	return a, nil
}
