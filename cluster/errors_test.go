package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tollgate/cluster/fsm"
	"tollgate/cluster/peer"
)

func TestErrorsProveTheSameOnBothSidesOfTheWire(t *testing.T) {
	for name, c := range map[string]struct{ sent, proves error }{
		"unknown outcome":         {fmt.Errorf("submit: %w: disk", ErrOutcomeUnknown), ErrOutcomeUnknown},
		"not the leader":          {&NotLeaderError{LeaderID: "x"}, ErrNotLeader},
		"between two leaders":     {ErrNotLeader, ErrNotLeader},
		"no quorum":               {ErrNoQuorum, ErrNoQuorum},
		"busy":                    {fmt.Errorf("submit: %w", ErrBusy), ErrBusy},
		"too large":               {ErrTooLarge, ErrTooLarge},
		"rejected":                {fmt.Errorf("%w: nonsense", ErrRejected), ErrRejected},
		"closed there":            {ErrClosed, ErrNotLeader},
		"halted there":            {fmt.Errorf("entry 7: %w", fsm.ErrUnknownType), ErrPeerFailed},
		"caller's time was up":    {fmt.Errorf("submit: %w", context.DeadlineExceeded), context.DeadlineExceeded},
		"cut off while it waited": {fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Canceled), ErrOutcomeUnknown},
		"behind":                  {ErrBehind, ErrBehind},
		"nobody to hand over to":  {fmt.Errorf("transfer: %w", ErrNoVoter), ErrNoVoter},
		"applied, not seen":       {&laggingError{index: 3, err: context.DeadlineExceeded}, ErrOutcomeUnknown},
	} {
		got := fromWire("n", fmt.Errorf("call: %w", toWire(c.sent)))
		if !errors.Is(got, c.proves) {
			t.Errorf("%s: %v", name, got)
		}
		if !errors.Is(c.proves, ErrOutcomeUnknown) && errors.Is(got, ErrOutcomeUnknown) {
			t.Errorf("%s proves nothing any more", name)
		}
	}
}

func TestBrokenCallProvesOnlyWhatTheWayThereShows(t *testing.T) {
	if err := fromWire("n", fmt.Errorf("dial: %w", peer.ErrUnreached)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a node that was not reached has done nothing: %v", err)
	}
	for _, broken := range []error{errors.New("connection reset"), context.DeadlineExceeded, &peer.Error{Code: "of a later release", Message: "?"}} {
		if err := fromWire("n", broken); !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%v proves too much: %v", broken, err)
		}
	}
}
