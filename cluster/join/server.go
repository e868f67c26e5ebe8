package join

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/config/secret"
	"tollgate/config/unit"
)

// Deps are what a node needs to let others in. The functions are asked at each
// join and may have nothing to say while the node starts.
type Deps struct {
	ClusterID func() string         // "" while there is none
	State     func() *members.State // nil while it is not readable
	Submit    func(ctx context.Context, c *members.Command) (members.Result, error)
	// Index is the leader's applied index, once this node has applied it too.
	Index func(ctx context.Context) (uint64, error)
	// Alive reports whether a node is there, as it seems from here.
	Alive         func(id string) bool
	Self          func() Whoami
	Box           *secret.Box
	KEK           func() string // for nodes whose operator gives them none
	MasterKeyHash func() string
	ConfigHash    func() string
	Secret        []byte  // key of the cluster's secret; nil: tokens only
	Former        *Former // answers probes while the cluster is formed; nil: not forming
	Caller        peer.Caller
	Logger        *slog.Logger
	Clock         unit.Clock
}

// Server lets nodes in. Any node may: who is a member is agreed by all.
type Server struct {
	Deps
	failures failures
	refusals *peer.RefusalLog
}

// NewServer makes a server.
func NewServer(d Deps) *Server {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Clock == nil {
		d.Clock = unit.SystemClock{}
	}
	return &Server{
		Deps: d, failures: failures{clock: d.Clock, seen: map[string]*failureWindow{}},
		refusals: peer.NewRefusalLog(d.Logger, d.Clock),
	}
}

// Serve answers one join connection and closes it.
func (s *Server) Serve(ctx context.Context, conn *tls.Conn) {
	ctx, cancel := context.WithTimeout(ctx, talkWithin)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only on a closed connection
	defer stop()
	if err := s.serve(ctx, conn); err != nil {
		s.Logger.Debug("join connection broke off", "remote", conn.RemoteAddr().String(), "error", err)
	}
}

func (s *Server) serve(ctx context.Context, conn *tls.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(askWithin)); err != nil {
		return err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	session, err := exported(conn)
	if err != nil {
		return err
	}
	var a ask
	if err := readMessage(conn, maxAsk, &a); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(talkWithin)); err != nil {
		return err
	}
	got, refusal := s.answer(ctx, &a, conn.RemoteAddr(), session)
	if refusal != nil {
		s.tell(&a, refusal, conn.RemoteAddr())
		got = &answer{Refused: refusal}
	}
	got.Version = wireVersion
	return writeMessage(conn, got)
}

// tell logs a refusal. What an address may cause without end is logged once a
// minute, and what it says of itself only as far as names go.
func (s *Server) tell(a *ask, r *Refusal, from net.Addr) {
	_, id := a.subject()
	attrs := []any{"remote", from.String(), "op", clipped(a.Op), "node", clipped(id), "token", clipped(a.TokenID), "error", r.Message}
	if blamed(r) {
		s.Logger.Warn("join refused", append(attrs, "reason", string(r.Code))...)
		return
	}
	s.refusals.Warn("join refused", peer.HostOf(from), peer.Reason(r.Code), attrs...)
}

// clipped keeps a stranger's words out of the log beyond the length of an id.
func clipped(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// answer decides. Of a question that is not proven it reads no more than what
// the proof needs.
func (s *Server) answer(ctx context.Context, a *ask, from net.Addr, session []byte) (*answer, *Refusal) {
	if a.Version != wireVersion {
		return nil, refuse(CodeBadRequest, "the joining node speaks version %d of joining, this one %d: use the same release", a.Version, wireVersion)
	}
	if a.Op == askWhoami {
		me := s.whoami()
		return &answer{Whoami: &me}, nil
	}
	if left, no := s.failures.refuses(from); no {
		return nil, refuse(CodeTooMany, "too many failed attempts from %s: try again in %d seconds", peer.HostOf(from), int(left.Seconds())+1)
	}
	key, refusal := s.key(ctx, a)
	if refusal == nil && !hmac.Equal(a.Proof, a.prove(key, session)) {
		refusal = s.wrongProof(a)
	}
	if refusal != nil {
		s.blame(refusal, from)
		return nil, refusal
	}
	got := &answer{Proof: proveAnswer(key, session)}
	switch {
	case a.Op == askProbe && a.Probe != nil:
		got.Seen, refusal = s.sighting(a.Probe)
	case a.Op == askJoin && a.Node != nil:
		got.Welcome, refusal = s.admit(ctx, a, from)
	default:
		refusal = refuse(CodeBadRequest, "the question %q is not known to this release", a.Op)
	}
	s.blame(refusal, from)
	return got, refusal
}

// blame counts what looks like guessing, and what costs the cluster a commit and
// can never come to anything: the tries of who has but a token that is over.
func (s *Server) blame(r *Refusal, from net.Addr) {
	if r != nil && blamed(r) {
		s.failures.add(from)
	}
}

func blamed(r *Refusal) bool {
	switch r.Code {
	case CodeProof, Code(members.CodeTokenUnknown), Code(members.CodeTokenUsed), Code(members.CodeTokenExpired), Code(members.CodeTokenRevoked):
		return true
	}
	return false
}

func (s *Server) wrongProof(a *ask) *Refusal {
	if a.TokenID == "" {
		return refuse(CodeProof, "the cluster secret is not this cluster's: start with the same --cluster-secret, or the same LITELLM_MASTER_KEY, on every node")
	}
	return refuse(CodeProof, "the token's secret is not the one this cluster has for it: copy the token again")
}

// key is what the question must have been proven with.
func (s *Server) key(ctx context.Context, a *ask) ([]byte, *Refusal) {
	if a.TokenID == "" {
		if s.Secret == nil {
			return nil, refuse(CodeProof, "this node has no cluster secret: join with a token, or start it with --cluster-secret")
		}
		return s.Secret, nil
	}
	state, refusal := s.ready()
	if refusal != nil {
		return nil, refusal
	}
	t, ok := state.Token(a.TokenID)
	if !ok {
		// It may have been made on another node a moment ago.
		if _, err := s.Index(ctx); err != nil {
			return nil, noQuorum(err)
		}
		if t, ok = s.State().Token(a.TokenID); !ok {
			return nil, refused(s.State().CheckToken(a.TokenID, "", s.Clock.Now()))
		}
	}
	key, err := openTokenKey(s.Box, &t)
	if err != nil {
		return nil, s.broken("open token", err)
	}
	return key, nil
}

// ready is the state when the node can let others in.
func (s *Server) ready() (*members.State, *Refusal) {
	if state := s.State(); state != nil && state.CA != nil && s.ClusterID() != "" && s.Box.Ready() {
		return state, nil
	}
	return nil, refuse(CodeForming, "the cluster is being formed: try again in a moment")
}

func noQuorum(err error) *Refusal {
	return refuse(CodeNoQuorum, "the cluster cannot agree at the moment (%v): try again when a majority of its voters runs", err)
}

func (s *Server) broken(what string, err error) *Refusal {
	s.Logger.Error("join cannot be served", "step", what, "error", err)
	return refuse(CodeNoQuorum, "the node could not %s: see its log, or try another node", what)
}

// admit takes a proven node in.
func (s *Server) admit(ctx context.Context, a *ask, from net.Addr) (*Welcome, *Refusal) {
	if _, refusal := s.ready(); refusal != nil {
		return nil, refusal
	}
	index, err := s.Index(ctx)
	if err != nil {
		return nil, noQuorum(err)
	}
	state := s.State()
	node := *a.Node
	node.Addr = reachable(node.Addr, from)
	if node.Role == "" { // what it is for is the invitation's to say
		node.Role = members.RoleNode
		if t, ok := state.Token(a.TokenID); ok {
			node.Role = t.Role
		}
	}
	if refusal := s.check(state, a, &node); refusal != nil {
		return nil, refusal
	}
	authority, err := OpenAuthority(state.CA, s.Box)
	if err != nil {
		return nil, s.broken("open the certificate authority", err)
	}
	signed, err := authority.Sign(a.CSR, node.ID, s.Clock.Now())
	if err != nil {
		return nil, refuse(CodeBadRequest, "%v", err)
	}
	node.KeySum, node.Serial, node.NotAfter = signed.KeySum, signed.Serial, signed.NotAfter
	c := &members.Command{Op: members.OpAdmit, Node: &node, TokenID: a.TokenID}
	if old, ok := state.Node(node.ID); ok {
		// It is not alive, as far as can be seen: the start that follows is fenced.
		if c.Replaces = old.KeySum; old.KeySum == "" {
			c.Replaces = members.NoKey
		}
	}
	result, err := s.Submit(ctx, c)
	if err != nil {
		return nil, noQuorum(err)
	}
	if result.Refused != "" {
		return nil, refused(result)
	}
	s.Logger.Info("node admitted", "node", node.ID, "name", node.Name, "role", string(node.Role), "addr", node.Addr, "token", a.TokenID, "index", result.Index)
	w, err := s.welcome(&result, max(index, result.Index))
	if err != nil {
		return nil, s.broken("open the gossip keys", err)
	}
	w.Cert = signed.Cert
	return w, nil
}

// check refuses what the commit would refuse too, without asking the cluster,
// and what only this node can see.
func (s *Server) check(state *members.State, a *ask, node *members.Node) *Refusal {
	if fault := node.Fault(); fault != "" {
		return refuse(CodeBadRequest, "node %s: %s", node.ID, fault)
	}
	if id := s.ClusterID(); a.ClusterID != "" && a.ClusterID != id {
		return refuse(CodeOtherCluster, "the data directory of node %s belongs to cluster %s, this is cluster %s: empty it and join as a new node", node.ID, a.ClusterID, id)
	}
	if a.ClusterID != "" && a.Generation != state.Generation {
		return refuse(CodeGeneration, "the cluster was recovered since node %s was part of it (generation %d, now %d): "+
			"remove raft and %s from its data directory and join again", node.ID, a.Generation, state.Generation, Dir)
	}
	if s.Alive(node.ID) {
		return refuse(CodeAlive, "node %s already runs: this data directory is a copy of its disk: empty it and join as a new node "+
			"(if the node has only just stopped, try again in half a minute)", node.ID)
	}
	return nil
}

func (s *Server) welcome(r *members.Result, index uint64) (*Welcome, error) {
	state := s.State()
	keys, err := openKeys(state, s.Box)
	if err != nil {
		return nil, err
	}
	return &Welcome{
		ClusterID: s.ClusterID(), Generation: state.Generation, Node: *r.Node,
		CA: state.CA.Cert, Keys: keys, Primary: state.Primary,
		KEK: s.KEK(), MasterKeyHash: s.MasterKeyHash(), ConfigHash: s.ConfigHash(),
		Members: state.Nodes(), Feature: state.Feature, StateIndex: index,
	}, nil
}

// openKeys opens the gossip keys of the state.
func openKeys(state *members.State, box *secret.Box) ([]RawKey, error) {
	var keys []RawKey
	for _, k := range state.Keys {
		text, err := box.Open("gossip/"+k.ID, "key", k.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open gossip key %s: %w", k.ID, err)
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != gossipKeySize {
			return nil, fmt.Errorf("open gossip key %s: %w", k.ID, errors.New("it is damaged"))
		}
		keys = append(keys, RawKey{k.ID, raw})
	}
	return keys, nil
}

// OpenKeys opens the gossip keys of the state, for the gossip and its file.
func OpenKeys(state *members.State, box *secret.Box) (keys []RawKey, primary string, err error) {
	keys, err = openKeys(state, box)
	return keys, state.Primary, err
}

// reachable fills in the host that a node which listens on all of them did not
// know, from where it came.
func reachable(addr string, from net.Addr) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || from == nil {
		return addr
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return addr
	}
	remote, _, err := net.SplitHostPort(from.String())
	if err != nil {
		return addr
	}
	return net.JoinHostPort(remote, port)
}
