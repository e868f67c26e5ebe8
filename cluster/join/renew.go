package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

type renewRequest struct {
	CSR []byte `json:"csr"`
}

type renewAnswer struct {
	Cert string `json:"cert"`
	CA   string `json:"ca"`
}

// renew signs a new certificate for a member, whose present one proves who it
// is.
func (s *Server) renew(ctx context.Context, from string, request []byte) ([]byte, error) {
	var r renewRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, &peer.Error{Code: string(CodeBadRequest), Message: "read renewal: " + err.Error()}
	}
	state, refusal := s.ready()
	if refusal != nil {
		return nil, &peer.Error{Code: string(refusal.Code), Message: refusal.Message}
	}
	signed, err := sign(ctx, signer{state: state, box: s.Box, submit: s.Submit, log: s.Logger, clock: s.Clock}, from, r.CSR)
	if err != nil {
		return nil, err
	}
	return json.Marshal(renewAnswer{signed.Cert, state.CA.Cert})
}

// signer is what it takes to sign for a member.
type signer struct {
	state  *members.State
	box    *secret.Box
	submit func(ctx context.Context, c *members.Command) (members.Result, error)
	log    *slog.Logger
	clock  unit.Clock
}

// recordWithin bounds how long a signature waits for its record.
const recordWithin = 5 * time.Second

// sign signs for a member and has the members know of it. The record is for
// people: without a majority a certificate is renewed all the same, or a long
// outage would end with nodes that may not speak.
func sign(ctx context.Context, s signer, node string, csr []byte) (*Signed, error) {
	if _, ok := s.state.Node(node); !ok {
		return nil, &peer.Error{Code: string(members.CodeUnknownNode), Message: fmt.Sprintf("node %s is not a member of this cluster", node)}
	}
	authority, err := OpenAuthority(s.state.CA, s.box)
	if err != nil {
		return nil, err
	}
	signed, err := authority.Sign(csr, node, s.clock.Now())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	result, err := s.submit(ctx, &members.Command{Op: members.OpRenew, Node: &members.Node{
		ID: node, KeySum: signed.KeySum, Serial: signed.Serial, NotAfter: signed.NotAfter,
	}})
	if err == nil {
		err = result.Err()
	}
	if err != nil {
		s.log.Warn("certificate signed, not recorded", "node", node, "error", err)
	}
	return signed, nil
}

// Renewer keeps a node's certificate young.
type Renewer struct {
	NodeID string
	Store  *Store
	State  func() *members.State
	Submit func(ctx context.Context, c *members.Command) (members.Result, error)
	Box    *secret.Box
	// Call and Others are whom to ask when this node cannot sign for itself;
	// nil: nobody.
	Call   peer.Caller
	Others func() []string
	// Renewed is told the new identity, to show from now on.
	Renewed func(*Identity) error
	Logger  *slog.Logger
	Clock   unit.Clock
}

const (
	// lookEvery bounds how long a wrong guess about the time lasts: a machine that
	// slept, a clock that was set.
	lookEvery = time.Hour
	// renewAgain is the pause after a renewal that did not come off.
	renewAgain = 5 * time.Minute
)

// Run renews at two thirds of a certificate's life, until ctx ends.
func (r *Renewer) Run(ctx context.Context) error {
	for {
		t := time.NewTimer(r.step(ctx))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// step renews if it is time and says when to look again.
func (r *Renewer) step(ctx context.Context) time.Duration {
	id, err := r.Store.Identity(r.NodeID, r.Clock.Now())
	var expired *ExpiredError
	if errors.Is(err, ErrNotJoined) {
		return renewAgain // the first leader is about to make one
	}
	if err != nil && !errors.As(err, &expired) {
		r.Logger.Error("certificate cannot be read", "error", err)
		return renewAgain
	}
	due := id.NotBefore.Add(id.NotAfter.Sub(id.NotBefore) * 2 / 3)
	if left := due.Sub(r.Clock.Now()); left > 0 {
		return min(left, lookEvery)
	}
	next, err := r.renew(ctx)
	if err == nil {
		err = r.Renewed(next)
	}
	if err != nil {
		r.Logger.Warn("certificate not renewed", "expires", id.NotAfter, "error", err)
		return renewAgain
	}
	r.Logger.Info("certificate renewed", "expires", next.NotAfter)
	return lookEvery
}

func (r *Renewer) renew(ctx context.Context) (*Identity, error) {
	key, err := r.Store.Key()
	if err != nil {
		return nil, err
	}
	csr, err := newRequest(key, r.NodeID)
	if err != nil {
		return nil, err
	}
	got, err := r.ask(ctx, csr)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(r.NodeID, key, got.Cert, got.CA)
	if err != nil {
		return nil, err
	}
	return id, r.Store.SaveCertificate(got.Cert, got.CA)
}

// ask has the certificate signed here, where the authority's key can be opened
// as well as anywhere, else by another member.
func (r *Renewer) ask(ctx context.Context, csr []byte) (*renewAnswer, error) {
	state := r.State()
	if state == nil || state.CA == nil {
		return nil, errors.New("the membership is not readable yet")
	}
	signed, err := sign(ctx, signer{state, r.Box, r.Submit, r.Logger, r.Clock}, r.NodeID, csr)
	if err == nil {
		return &renewAnswer{signed.Cert, state.CA.Cert}, nil
	}
	if r.Call == nil || r.Others == nil {
		return nil, err
	}
	request, jsonErr := json.Marshal(renewRequest{csr})
	if jsonErr != nil {
		return nil, jsonErr
	}
	for _, other := range r.Others() {
		text, callErr := r.Call.Call(ctx, other, MethodRenew, request)
		var got renewAnswer
		if callErr == nil {
			callErr = json.Unmarshal(text, &got)
		}
		if callErr == nil && got.CA != state.CA.Cert {
			callErr = errors.New("it answered with another certificate authority")
		}
		if callErr == nil {
			return &got, nil
		}
		err = errors.Join(err, fmt.Errorf("ask node %s: %w", other, callErr))
	}
	return nil, err
}
