package members

import (
	"time"
)

const (
	// MaxTTL is the longest life of a token.
	MaxTTL = 24 * time.Hour

	// ttlSlack is how far the clock of the node that made a token may be ahead of
	// the state's.
	ttlSlack = 10 * time.Minute

	// tokenKept is how long an expired token is remembered, so that its late use
	// is told that it has expired.
	tokenKept = time.Hour

	// maxUses and maxTokens bound what a slip of an operator can do.
	maxUses   = 1000
	maxTokens = 1000
)

// pruneTokens forgets tokens that expired long ago by the state's clock.
func (s *State) pruneTokens() {
	for id, t := range s.tokens {
		if s.At.After(t.Expires.Add(tokenKept)) {
			delete(s.tokens, id)
		}
	}
}

func (s *State) addToken(c *Command) Result {
	t := c.Token
	switch {
	case t == nil || t.ID == "" || t.SealedKey == "" || t.Revoked:
		return refuse(CodeBadCommand, "a token takes an id and a key")
	case !t.Role.Known():
		return refuse(CodeBadCommand, "make token: role %q: want node or witness", t.Role)
	case t.Uses < 1 || t.Uses > maxUses:
		return refuse(CodeBadCommand, "make token: %d uses: want 1 to %d", t.Uses, maxUses)
	case t.Expires.After(s.At.Add(MaxTTL + ttlSlack)):
		return refuse(CodeBadCommand, "make token: it would live until %s: the longest life is %s", t.Expires.UTC().Format(time.RFC3339), MaxTTL)
	}
	if fault := tooLong(t.ID, t.By); fault != "" {
		return refuse(CodeBadCommand, "make token: %s", fault)
	}
	if old, ok := s.tokens[t.ID]; ok {
		if old.SealedKey == t.SealedKey {
			return Result{} // a retry; it may have been used since
		}
		return refuse(CodeExists, "make token: id %s is taken: try again", t.ID)
	}
	if !t.Expires.After(s.At) {
		return refuse(CodeBadCommand, "make token: it has expired already: check the clocks of the nodes")
	}
	if len(s.tokens) >= maxTokens {
		return refuse(CodeBadCommand, "make token: there are %d tokens: wait until some have expired", len(s.tokens))
	}
	in := *t
	in.Expires = in.Expires.UTC()
	s.tokens[in.ID] = &in
	return Result{}
}

func (s *State) revokeToken(c *Command) Result {
	old, ok := s.tokens[c.ID]
	if !ok {
		return refuse(CodeTokenUnknown, "token %s is not known: it has expired, or was never made here", c.ID)
	}
	in := *old
	in.Revoked = true
	s.tokens[in.ID] = &in
	return Result{}
}

// CheckToken says whether a token lets a node of the role in at a time; the
// answer is a refusal or an empty result. Admission checks by the same rule, by
// the state's clock.
func (s *State) CheckToken(id string, role Role, now time.Time) Result {
	t, ok := s.tokens[id]
	switch {
	case !ok:
		return refuse(CodeTokenUnknown, "the token is not known to this cluster: it expired long ago, or was never made here; make a new one with: tollgate token create")
	case t.Revoked:
		return refuse(CodeTokenRevoked, "the token was revoked: make a new one with: tollgate token create")
	case !now.Before(t.Expires):
		return refuse(CodeTokenExpired, "the token expired at %s: make a new one with: tollgate token create", t.Expires.Format("2006-01-02 15:04:05 MST"))
	case t.Uses < 1:
		return refuse(CodeTokenUsed, "the token has been used already: make a new one with: tollgate token create")
	case t.Role != role:
		return refuse(CodeWrongRole, "the token is for a %s, this machine would join as a %s: make one for it with: tollgate token create --role %s", t.Role, role, role)
	}
	return Result{}
}

// useToken takes one use, if there is one. No token: the caller has proven the
// cluster's secret instead.
func (s *State) useToken(id string, role Role) Result {
	if id == "" {
		return Result{}
	}
	if r := s.CheckToken(id, role, s.At); r.Refused != "" {
		return r
	}
	in := *s.tokens[id]
	in.Uses--
	s.tokens[id] = &in
	return Result{}
}
