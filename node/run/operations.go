package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/gossip"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/proxy/clusterapi"
)

// operations are what operators do to the cluster, over the API or the command
// line. Where each is explained: package clusterapi.
type operations struct {
	n       *node
	imports *imports
}

var _ clusterapi.Cluster = (*operations)(nil)

// Members lists every node: committed members with how they seem from here.
func (op *operations) Members(context.Context) ([]clusterapi.Member, error) {
	n := op.n
	seen := map[string]gossip.Member{}
	for _, m := range n.place.members() {
		seen[m.NodeID] = m
	}
	raft := map[string]string{}
	for _, s := range n.cluster.Servers() {
		raft[s.ID] = "non-voter"
		if s.Voter {
			raft[s.ID] = "voter"
		}
	}
	if leader := n.cluster.Status().LeaderID; leader != "" {
		raft[leader] = "leader"
	}
	var out []clusterapi.Member
	for _, m := range n.cluster.Membership().Nodes() {
		row := clusterapi.Member{
			ID: m.ID, Name: m.Name, Region: m.Region, Zone: m.Zone, Role: string(m.Role), Raft: raft[m.ID], State: "unknown",
			Addr: m.Addr, API: m.API, Version: m.Build, Incarnation: m.Incarnation, CertExpires: pointer(m.NotAfter),
			Self: m.ID == n.identity.NodeID,
		}
		if row.Raft == "" {
			row.Raft = "none"
		}
		if g, ok := seen[m.ID]; ok {
			describe(&row, g)
		}
		out = append(out, row)
	}
	slices.SortStableFunc(out, func(a, b clusterapi.Member) int {
		if c := strings.Compare(a.Region, b.Region); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

// describe adds what gossip knows of a member.
func describe(row *clusterapi.Member, g gossip.Member) {
	row.State, row.Since = string(g.State), pointer(g.Since)
	if g.State == gossip.Alive {
		row.Addr, row.API, row.Version = g.Addr, g.API, g.Build
		if g.Draining {
			row.State = "draining"
		}
	}
	row.Applied, row.InFlight, row.ConfigHash = g.Status.Applied, g.Status.InFlight, g.Status.ConfigHash
	row.LedgerBacklog, row.DiskFreeBytes = g.Status.LedgerBacklog, g.Status.DiskFree
	row.RTTMillis = float64(g.RTT.Microseconds()) / 1000
}

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Status is this node's view of itself and of the cluster.
func (op *operations) Status(ctx context.Context) (clusterapi.Status, error) {
	n := op.n
	s := n.cluster.Status()
	out := clusterapi.Status{
		ClusterID: s.ClusterID, Generation: s.Generation, NodeID: s.NodeID, Name: n.o.Name, Region: n.o.Region, Zone: n.o.Zone,
		Version: n.o.Version, State: s.State, Draining: n.server.Draining(), LeaderID: s.LeaderID, Leader: op.nameOf(s.LeaderID),
		LeaderAgeMS: n.cluster.Staleness().Milliseconds(), Term: s.Term, Applied: s.Applied, Commit: s.Commit, Voters: s.Voters,
		Quorum: s.Quorum, Profile: string(n.cluster.Profile()), Feature: n.cluster.Feature(), InFlight: n.calls.InFlight(),
	}
	if err := n.Ready(); err != nil {
		out.Reason = err.Error()
	} else {
		out.Ready = true
	}
	if v := n.store.State().ActiveConfig(); v != nil {
		out.ConfigVersion, out.ConfigHash = v.Number, short(v.Hash)
	}
	out.ConfigAlike = true
	list, err := op.Members(ctx)
	if err != nil {
		return out, err
	}
	out.Nodes = len(list)
	for _, m := range list {
		switch m.State {
		case "alive", "draining":
			out.Alive++
			if m.Self || m.ConfigHash == "" || out.ConfigHash == "" || m.Role == string(members.RoleWitness) {
				continue
			}
			if m.ConfigHash != out.ConfigHash {
				out.ConfigAlike = false
				out.Problems = append(out.Problems, fmt.Sprintf("%s runs config %s, this node %s", m.Name, m.ConfigHash, out.ConfigHash))
			}
		default:
			out.Problems = append(out.Problems, fmt.Sprintf("%s (%s) is %s", m.Name, m.Region, m.State))
		}
	}
	if out.Ready && n.server.Draining() {
		out.Ready, out.Reason = false, "draining"
	}
	if _, former := n.cluster.KEKs(); former != "" {
		out.Problems = append(out.Problems, "the key-encryption key is being changed: finish with `tollgate secrets finish`")
	}
	return out, nil
}

// nameOf is a node's name, or its id where no name is known.
func (op *operations) nameOf(id string) string {
	if m, ok := op.n.cluster.Membership().Node(id); ok && m.Name != "" {
		return m.Name
	}
	return id
}

// find is a member by id or name.
func (op *operations) find(node string) (members.Node, error) {
	var found []members.Node
	for _, m := range op.n.cluster.Membership().Nodes() {
		if m.ID == node || m.Name == node {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return members.Node{}, &clusterapi.Fault{Status: 404, Code: "unknown_node", Message: fmt.Sprintf("No node of the cluster has the id or name %q: `tollgate members` lists them.", node)}
	}
	return members.Node{}, &clusterapi.Fault{Status: 409, Code: "ambiguous_node", Message: fmt.Sprintf("%d nodes are called %q: give the id of one.", len(found), node)}
}

// CreateToken makes a join token.
func (op *operations) CreateToken(ctx context.Context, role string, ttl time.Duration, uses int, by string) (string, clusterapi.TokenInfo, error) {
	n := op.n
	text, t, err := join.MakeToken(n.box, n.cluster.Membership().CA, join.Invitation{Role: members.Role(role), Uses: uses, TTL: ttl, By: by}, n.clock.Now())
	if err != nil {
		return "", clusterapi.TokenInfo{}, &clusterapi.Fault{Status: 400, Code: "bad_token_request", Message: err.Error()}
	}
	if err := op.change(ctx, &members.Command{Op: members.OpToken, Token: t}); err != nil {
		return "", clusterapi.TokenInfo{}, err
	}
	return text, tokenInfo(*t), nil
}

func tokenInfo(t members.Token) clusterapi.TokenInfo {
	return clusterapi.TokenInfo{ID: t.ID, Role: string(t.Role), Uses: t.Uses, Expires: t.Expires, By: t.By}
}

// change submits a change of the membership; a refusal is the caller's fault.
func (op *operations) change(ctx context.Context, c *members.Command) error {
	r, err := op.n.cluster.SubmitMembership(ctx, c)
	if err != nil {
		return err
	}
	if r.Refused != "" {
		return &clusterapi.Fault{Status: 409, Code: string(r.Refused), Message: r.Message}
	}
	return nil
}

// Tokens lists the tokens that can still be used.
func (op *operations) Tokens(context.Context) ([]clusterapi.TokenInfo, error) {
	var out []clusterapi.TokenInfo
	now := op.n.clock.Now()
	for _, t := range op.n.cluster.Membership().Tokens() {
		if t.Expires.After(now) {
			out = append(out, tokenInfo(t))
		}
	}
	return out, nil
}

// RevokeToken takes a token back.
func (op *operations) RevokeToken(ctx context.Context, id string) error {
	if _, ok := op.n.cluster.Membership().Token(id); !ok {
		return &clusterapi.Fault{Status: 404, Code: "unknown_token", Message: fmt.Sprintf("There is no token %q: `tollgate token list` shows those that can be used.", id)}
	}
	return op.change(ctx, &members.Command{Op: members.OpRevoke, ID: id})
}

// Drain sets or ends draining of this node.
func (op *operations) Drain(_ context.Context, on bool) error {
	op.n.server.SetDraining(on)
	if pool := op.n.place.pool.Load(); pool != nil {
		return pool.SetMeta(func(m *gossip.Meta) { m.Draining = on })
	}
	return nil
}

// Leave takes this node out of the cluster and ends it, in order.
func (op *operations) Leave(ctx context.Context) error {
	n := op.n
	if n.cluster.Membership().Len() <= 1 {
		return &clusterapi.Fault{Status: 409, Code: "last_node", Message: "This is the cluster's only node: there is nobody to leave it to. Stop it instead."}
	}
	if _, err := n.cluster.Wait(ctx, cluster.Consistency{Level: cluster.Leader}); err != nil {
		return err // without a leader it could not be taken out
	}
	if missing := op.missedVoters(); missing != nil {
		return &clusterapi.Fault{Status: 409, Code: "quorum", Message: fmt.Sprintf(
			"Without this node's vote no majority would be left, because of %s: bring it back or forget it first.", strings.Join(missing, ", "))}
	}
	if err := op.Drain(ctx, true); err != nil {
		return err
	}
	if err := n.awaitHeir(ctx); err != nil {
		return errors.Join(err, op.Drain(ctx, false))
	}
	n.log.Info("leaving the cluster, as an operator asked")
	time.AfterFunc(200*time.Millisecond, func() { n.leave(errLeaves) }) // the answer goes out first
	return nil
}

// missedVoters names the voters that are not there, if the others would be no
// majority once this node is gone.
func (op *operations) missedVoters() (missing []string) {
	n := op.n
	voters, self := 0, false
	for _, s := range n.cluster.Servers() {
		switch {
		case !s.Voter:
		case s.ID == n.identity.NodeID:
			self = true
		default:
			voters++
			if !n.place.alive(s.ID) {
				missing = append(missing, op.nameOf(s.ID))
			}
		}
	}
	if !self || voters-len(missing) >= voters/2+1 {
		return nil
	}
	return missing
}

// Forget takes out a node that is gone for good.
func (op *operations) Forget(ctx context.Context, node string) error {
	n := op.n
	m, err := op.find(node)
	if gone, ok := op.forgotten(node); err != nil && ok {
		// It may be the second half that did not come off the last time.
		return n.writeOff(ctx, gone)
	}
	if err != nil {
		return err
	}
	switch {
	case m.ID == n.identity.NodeID:
		return &clusterapi.Fault{Status: 409, Code: "self", Message: "A node cannot forget itself: use `tollgate leave`, or forget it through another node."}
	case n.place.alive(m.ID):
		return &clusterapi.Fault{Status: 409, Code: "alive", Message: fmt.Sprintf("%s seems to be alive: let it go in order with `tollgate leave --addr http://%s`. If it has just been killed, try again in ten seconds.", m.Name, m.API)}
	}
	if err := op.change(ctx, &members.Command{Op: members.OpRemove, ID: m.ID, Why: "forgotten"}); err != nil {
		return err
	}
	if err := n.writeOff(ctx, m.ID); err != nil {
		return fmt.Errorf("%s is forgotten, but what it held of budgets is not written off yet; forget it again: %w", m.Name, err)
	}
	n.log.Info("node forgotten; what it held of budgets counts as spent", "node", m.ID, "name", m.Name)
	return nil
}

// forgotten is the id of a node that was taken out, by id or name, the latest of
// that name.
func (op *operations) forgotten(node string) (id string, ok bool) {
	for _, r := range slices.Backward(op.n.cluster.Membership().Removals()) {
		if r.ID == node || r.Name == node {
			return r.ID, true
		}
	}
	return "", false
}

// TransferLeadership hands leadership to a voter.
func (op *operations) TransferLeadership(ctx context.Context, to string) (string, error) {
	id := ""
	if to != "" {
		m, err := op.find(to)
		if err != nil {
			return "", err
		}
		id = m.ID
	}
	leader, err := op.n.cluster.TransferLeadership(ctx, id)
	if errors.Is(err, cluster.ErrNoVoter) {
		return "", &clusterapi.Fault{Status: 409, Code: "no_voter", Message: "Leadership can go only to another voter that is alive: `tollgate members` shows who votes."}
	}
	return op.nameOf(leader), err
}

// Backup writes a snapshot of the replicated state.
func (op *operations) Backup(ctx context.Context, w io.Writer) error {
	return op.n.cluster.Backup(ctx, w)
}
