package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"tollgate/cluster/members"
	"tollgate/config/unit"
)

// Dialler opens a join connection. Nothing about the other side is verified by
// it; the connection's handshake may be still to come.
type Dialler func(ctx context.Context, addr string) (*tls.Conn, error)

// Request is what a machine brings to join.
type Request struct {
	Dial  Dialler
	Addrs []string
	// Token as pasted, or Secret: the key of the cluster's secret (SecretKey).
	Token  string
	Secret []byte

	Node members.Node
	Key  *ecdsa.PrivateKey // Store.Key

	// ClusterID and Generation are those of a node that was a member before and
	// has lost its certificate.
	ClusterID  string
	Generation uint64

	// Patience is how long refusals that may pass, and silence, are tried again.
	Patience time.Duration
	Logger   *slog.Logger
	Clock    unit.Clock
}

const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Join asks the nodes at the addresses, one after the other, to take this one
// in. Before anything but the TLS handshake leaves this machine, the other side
// has shown the authority that the token names; with a secret, both sides prove
// that they know it.
func Join(ctx context.Context, r Request) (*Welcome, error) {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Clock == nil {
		r.Clock = unit.SystemClock{}
	}
	if len(r.Addrs) == 0 {
		return nil, errors.New("join: no address of a running node")
	}
	asked := r.Node
	if asked.Role == "" { // the token says
		asked.Role = members.RoleNode
	}
	if fault := asked.Fault(); fault != "" {
		return nil, fmt.Errorf("join as node %s: %s", r.Node.ID, fault)
	}
	j := &joiner{Request: r, secret: r.Secret}
	if r.Token != "" || r.Secret == nil {
		tok, err := ParseToken(r.Token)
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		j.token, j.secret = tok, tok.key()
	}
	csr, err := newRequest(r.Key, r.Node.ID)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	j.csr = csr
	return j.run(ctx)
}

type joiner struct {
	Request
	token  *Token // nil: by the cluster's secret
	secret []byte
	csr    []byte
}

func (j *joiner) run(ctx context.Context) (*Welcome, error) {
	until := j.Clock.Now().Add(j.Patience)
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		w, err, again := j.pass(ctx)
		if err == nil || !again || ctx.Err() != nil || j.Clock.Now().Add(pause).After(until) {
			return w, err
		}
		j.Logger.Info("join to be tried again", "in", pause.String(), "error", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// pass tries every address once. again tells whether a later pass may succeed.
func (j *joiner) pass(ctx context.Context) (w *Welcome, err error, again bool) {
	var faults []string
	var last error
	for _, addr := range j.Addrs {
		w, err := j.one(ctx, addr)
		if err == nil {
			return w, nil, false
		}
		var r *Refusal
		isRefusal := errors.As(err, &r)
		if isRefusal && !r.elsewhere() {
			return nil, fmt.Errorf("join: %s refused: %w", addr, err), false
		}
		again = again || !isRefusal || r.Retry()
		faults = append(faults, addr+": "+err.Error())
		last = fmt.Errorf("join: %s: %w", addr, err)
	}
	if len(faults) == 1 {
		return nil, last, again
	}
	return nil, &severalError{"join: no address let this node in: " + strings.Join(faults, "; "), last}, again
}

// severalError lists what every address said and is the last for programs.
type severalError struct {
	text string
	last error
}

func (e *severalError) Error() string { return e.text }
func (e *severalError) Unwrap() error { return e.last }

func (j *joiner) one(ctx context.Context, addr string) (*Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, talkWithin)
	defer cancel()
	conn, err := j.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // what was said is said
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	a := &ask{Op: askJoin, Node: &j.Node, CSR: j.csr, ClusterID: j.ClusterID, Generation: j.Generation}
	if j.token != nil {
		a.TokenID = j.token.ID
		if err := j.trust(conn.ConnectionState(), addr); err != nil {
			return nil, err
		}
	}
	got, err := talk(ctx, conn, j.secret, a)
	if err != nil {
		return nil, err
	}
	if got.Welcome == nil {
		return nil, errors.New("the answer holds no welcome: the node there is of another release")
	}
	if err := j.check(got.Welcome); err != nil {
		return nil, fmt.Errorf("the welcome is not usable: %w", err)
	}
	return got.Welcome, nil
}

// unjoinedSuffix ends the name in the certificate of a node without a cluster.
const unjoinedSuffix = ".tollgate.invalid"

// trust accepts who shows the authority that the token names and a certificate
// that it signed.
func (j *joiner) trust(s tls.ConnectionState, addr string) error {
	var root *x509.Certificate
	for _, c := range s.PeerCertificates {
		if sha256.Sum256(c.Raw) == j.token.Fingerprint {
			root = c
		}
	}
	if root == nil {
		for _, name := range s.PeerCertificates[0].DNSNames {
			if strings.HasSuffix(name, unjoinedSuffix) {
				return refuse(CodeForming, "the node at %s belongs to no cluster yet: try again, or take another node's address", addr)
			}
		}
		return refuse(CodeOtherCluster, "the token belongs to another cluster, or %s is not part of the one it was made in", addr)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: pool, CurrentTime: j.Clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return refuse(CodeOtherCluster, "%s shows the certificate authority of the token's cluster but has no valid certificate of it: %v", addr, err)
	}
	return nil
}

// check holds a welcome against what was asked for.
func (j *joiner) check(w *Welcome) error {
	id, err := newIdentity(j.Node.ID, j.Key, w.Cert, w.CA)
	if err != nil {
		return err
	}
	if j.token != nil && sha256.Sum256(id.authority.Raw) != j.token.Fingerprint {
		return errors.New("its certificate authority is not the token's")
	}
	if w.ClusterID == "" || id.authority.Subject.CommonName != w.ClusterID {
		return fmt.Errorf("its certificate authority is of cluster %q, the welcome of %q", id.authority.Subject.CommonName, w.ClusterID)
	}
	if w.Node.ID != j.Node.ID {
		return fmt.Errorf("it is for node %s", w.Node.ID)
	}
	primary := false
	for _, k := range w.Keys {
		if len(k.Key) != gossipKeySize || KeyID(k.Key) != k.ID {
			return fmt.Errorf("gossip key %s is damaged", k.ID)
		}
		primary = primary || k.ID == w.Primary
	}
	if !primary {
		return errors.New("the gossip key to send with is missing")
	}
	return nil
}
