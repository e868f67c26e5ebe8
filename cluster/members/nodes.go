package members

import (
	"fmt"
	"slices"
	"time"
)

// fieldMax bounds every text of a node. Members are few and their texts are
// names and addresses; what is longer is a mistake.
const fieldMax = 256

// found brings what the first leader has made. Its retry answers as the first.
func (s *State) found(c *Command) Result {
	switch {
	case c.CA == nil || c.Key == nil || c.Node == nil:
		return refuse(CodeBadCommand, "founding takes a certificate authority, a gossip key and the founder")
	case s.CA != nil && *s.CA == *c.CA:
		if n, ok := s.nodes[c.Node.ID]; ok {
			return took(n)
		}
		return refuse(CodeExists, "the cluster was founded by another node")
	case s.CA != nil:
		return refuse(CodeExists, "the cluster has a certificate authority already")
	}
	if fault := c.Node.Fault(); fault != "" {
		return refuse(CodeBadCommand, "found with node %s: %s", c.Node.ID, fault)
	}
	if r := s.checkRemoved(c.Node.ID); r.Refused != "" {
		return r
	}
	ca := *c.CA
	s.CA, s.Keys, s.Primary, s.Feature = &ca, []GossipKey{*c.Key}, c.Key.ID, c.Feature
	return took(s.put(newcomer(s, c.Node, "")))
}

// admit takes a node in, and the use of the token in the same step, so that a
// token for one node cannot be raced by two.
func (s *State) admit(c *Command) Result {
	n := c.Node
	if n == nil {
		return refuse(CodeBadCommand, "the node to admit is missing")
	}
	if fault := n.Fault(); fault != "" {
		return refuse(CodeBadCommand, "admit node %s: %s", n.ID, fault)
	}
	if r := s.checkRemoved(n.ID); r.Refused != "" {
		return r
	}
	old, again := s.nodes[n.ID]
	if again && old.KeySum == n.KeySum && n.KeySum != "" && old.TokenID == c.TokenID {
		return took(old) // the retry of a join whose answer was lost
	}
	if again {
		if r := mayReplace(old, c); r.Refused != "" {
			return r
		}
	}
	if r := s.checkFeatures(n); r.Refused != "" {
		return r
	}
	if r := s.useToken(c.TokenID, n.Role); r.Refused != "" {
		return r
	}
	in := newcomer(s, n, c.TokenID)
	if again {
		// The fence against older starts of this id stays.
		in.Incarnation, in.Nonce, in.StartedAt = old.Incarnation, old.Nonce, old.StartedAt
	}
	return took(s.put(in))
}

// mayReplace allows a member that has lost its key to come back under its id.
func mayReplace(old *Node, c *Command) Result {
	present := old.KeySum
	if present == "" {
		present = NoKey
	}
	if c.Replaces != present {
		return refuse(CodeExists, "node %s is a member already: if this data directory is a copy, empty it and join as a new node", old.ID)
	}
	if old.Role != c.Node.Role {
		return refuse(CodeWrongRole, "node %s is a member as a %s: join it so, or empty its data directory and join as a new node", old.ID, old.Role)
	}
	return Result{}
}

// start registers a start. It fences every earlier start of the same id, and a
// copy of its disk.
func (s *State) start(c *Command) Result {
	n := c.Node
	if n == nil {
		return refuse(CodeBadCommand, "the node that starts is missing")
	}
	if fault := n.Fault(); fault != "" {
		return refuse(CodeBadCommand, "start node %s: %s", n.ID, fault)
	}
	if n.Nonce == "" || n.Incarnation == 0 {
		return refuse(CodeBadCommand, "start node %s: a start takes an incarnation and a nonce", n.ID)
	}
	old, r := s.member(n.ID)
	if r.Refused != "" {
		return r
	}
	if n.Incarnation == old.Incarnation && n.Nonce == old.Nonce {
		return took(old)
	}
	if n.Incarnation <= old.Incarnation {
		return refuse(CodeStaleStart, "node %s has started %d times, this would be start %d: "+
			"another process runs with this node's id, or the data directory is an old copy: empty it and join as a new node",
			n.ID, old.Incarnation, n.Incarnation)
	}
	if n.Role != old.Role {
		return refuse(CodeWrongRole, "node %s is a member as a %s, not as a %s: start it so, or let it leave and join as a new node", n.ID, old.Role, n.Role)
	}
	if r := s.checkFeatures(n); r.Refused != "" {
		return r
	}
	in := *n
	in.KeySum, in.Serial, in.NotAfter = old.KeySum, old.Serial, old.NotAfter
	in.TokenID, in.AdmittedAt, in.StartedAt = old.TokenID, old.AdmittedAt, s.At
	return took(s.put(&in))
}

// renew records a node's newest certificate.
func (s *State) renew(c *Command) Result {
	if c.Node == nil || c.Node.Serial == "" || c.Node.KeySum == "" {
		return refuse(CodeBadCommand, "a renewal takes a node, its key and the certificate's serial")
	}
	if fault := tooLong(c.Node.Serial, c.Node.KeySum); fault != "" {
		return refuse(CodeBadCommand, "renew the certificate of node %s: %s", c.Node.ID, fault)
	}
	old, r := s.member(c.Node.ID)
	if r.Refused != "" {
		return r
	}
	in := *old
	in.KeySum, in.Serial, in.NotAfter = c.Node.KeySum, c.Node.Serial, c.Node.NotAfter.UTC()
	return took(s.put(&in))
}

// remove takes a node out for good.
func (s *State) remove(c *Command) Result {
	if _, ok := s.nodes[c.ID]; !ok {
		if _, _, gone := s.Removed(c.ID); gone {
			return Result{}
		}
		return refuse(CodeUnknownNode, "node %s is not a member", c.ID)
	}
	if len(s.nodes) == 1 {
		return refuse(CodeBadCommand, "node %s is the last one: stop it instead", c.ID)
	}
	why := c.Why
	if why == "" {
		why = "removed"
	}
	if fault := tooLong(why); fault != "" {
		return refuse(CodeBadCommand, "remove node %s: %s", c.ID, fault)
	}
	s.takeOut(c.ID, why)
	return Result{}
}

func (s *State) takeOut(id, why string) {
	s.removed = append(s.removed, Removal{ID: id, Name: s.nodes[id].Name, Why: why, At: s.At})
	if over := len(s.removed) - removedKept; over > 0 {
		s.removed = slices.Delete(s.removed, 0, over)
	}
	delete(s.nodes, id)
}

// put stores the node, times in one zone: snapshots are compared as bytes.
func (s *State) put(n *Node) *Node {
	n.NotAfter, n.AdmittedAt, n.StartedAt = n.NotAfter.UTC(), n.AdmittedAt.UTC(), n.StartedAt.UTC()
	s.nodes[n.ID] = n
	return n
}

// newcomer is a node as admitted: it has not started yet.
func newcomer(s *State, n *Node, token string) *Node {
	in := *n
	in.Incarnation, in.Nonce = 0, ""
	in.TokenID, in.AdmittedAt, in.StartedAt = token, s.At, time.Time{}
	return &in
}

// member is the node, or the refusal that says why there is none.
func (s *State) member(id string) (*Node, Result) {
	if n, ok := s.nodes[id]; ok {
		return n, Result{}
	}
	if r := s.checkRemoved(id); r.Refused != "" {
		return nil, r
	}
	return nil, refuse(CodeUnknownNode, "node %s is not a member of this cluster: join it with a token", id)
}

// checkRemoved refuses ids that are spent: what such a node held was settled
// when it was taken out.
func (s *State) checkRemoved(id string) Result {
	if why, at, ok := s.Removed(id); ok {
		return refuse(CodeRemoved, "node %s was taken out of the cluster at %s (%s): empty its data directory and join as a new node",
			id, at.Format("2006-01-02 15:04:05 MST"), why)
	}
	return Result{}
}

// checkFeatures refuses a release that cannot read what is proposed at the
// present level, or that no longer can.
func (s *State) checkFeatures(n *Node) Result {
	if s.Feature == 0 || n.FeatureMin <= s.Feature && s.Feature <= n.FeatureMax {
		return Result{}
	}
	what := "a newer release"
	if n.FeatureMin > s.Feature {
		what = "an older release, or raise the cluster's level first"
	}
	return refuse(CodeFeature, "node %s speaks feature levels %d to %d, the cluster is at %d: start %s",
		n.ID, n.FeatureMin, n.FeatureMax, s.Feature, what)
}

// Fault says what is wrong with a node that asks to be taken in, "" if nothing.
func (n *Node) Fault() string {
	switch {
	case n.ID == "":
		return "it has no id"
	case n.Addr == "":
		return "it has no address"
	case !n.Role.Known():
		return fmt.Sprintf("role %q: want node or witness", n.Role)
	case n.FeatureMin > n.FeatureMax:
		return fmt.Sprintf("feature levels %d to %d are no range", n.FeatureMin, n.FeatureMax)
	}
	return tooLong(n.ID, n.Name, n.Region, n.Zone, n.Addr, n.API, n.Build, n.Nonce, n.KeySum, n.Serial)
}

func tooLong(texts ...string) string {
	for _, t := range texts {
		if len(t) > fieldMax {
			return fmt.Sprintf("%.32q… is %d bytes long, the most is %d", t, len(t), fieldMax)
		}
	}
	return ""
}

// Known reports whether this release knows the role.
func (r Role) Known() bool { return r == RoleNode || r == RoleWitness }
